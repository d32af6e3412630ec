"""``lightvec search``: the rows nearest to a question, to a vector or to another row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from lightvec.cli.conditions import condition, naming_conditions, where_option
from lightvec.cli.files import standard_input
from lightvec.cli.imports import embedder, with_option
from lightvec.cli.options import (
    COUNT,
    k_option,
    metric_option,
    model_option,
    not_empty,
    open_field,
    setting_options,
    table_options,
)
from lightvec.cli.output import print_json, print_table
from lightvec.cli.streams import tell
from lightvec.cli.vector_files import matrix
from lightvec.errors import InvalidOption, InvalidVector, SchemaMismatch


@click.command("search")
@with_option
@click.option(
    "--vector",
    metavar="VECTOR",
    help="A vector as text, [1,2,3]; @FILE or - reads one, also from .npy.",
)
@click.option(
    "--like",
    metavar="ID",
    help="Search with the embedding of the row with this primary key (A,B: of two).",
)
@click.option(
    "--text",
    metavar="WORDS",
    help="Search with the embedding of the row whose text is, or begins with, this.",
)
@click.option(
    "--text-column",
    metavar="NAME",
    help="Where --text looks (default: the table's only column of text).",
)
@k_option
@where_option
@click.option(
    "--column",
    "shown",
    multiple=True,
    metavar="NAME",
    help="A column to show (default: all but vectors).",
)
@click.option("--per", metavar="COLUMN", help="Only the nearest row of each value of this column.")
@click.option(
    "--candidates",
    type=COUNT,
    help="The nearest rows among which --per looks (default: 10 for each row, at least 100).",
)
@metric_option
@setting_options
@click.option("--exact", is_flag=True, help="Compare with every row, without the vector index.")
@model_option
@click.option("--fresh", is_flag=True, help="Only rows whose vector is of their present text.")
@table_options
@click.argument("words", required=False, callback=not_empty)
def command(
    table: str,
    words: str | None,
    function: str | None,
    vector: str | None,
    like: str | None,
    text: str | None,
    text_column: str | None,
    k: int,
    conditions: tuple[str, ...],
    shown: tuple[str, ...],
    per: str | None,
    metric: str | None,
    exact: bool,
    embedding_model: str | None,
    fresh: bool,
    vector_column: str | None,
    schema: str | None,
    url: str | None,
    as_json: bool,
    **settings: int | None,
) -> None:
    """Print the rows of TABLE nearest to WORDS or to a vector, nearest first.

    \b
    lightvec search doc 'words of a question' --with app:embed
    lightvec search doc --vector '[0.1,0.2,0.3]'
    lightvec search doc --text 'Moby' --text-column title --where 'year < 1900'
    lightvec search gloss --like 42 -k 5 --json
    lightvec search chunk 'words of a question' --with app:embed --per document_id

    The measure of each row comes first and is called score, higher is better; a column of that name
    is shown as score_.
    """
    from lightvec.peewee.reflect import column_of, plain_fields

    if sum(given is not None for given in (words, vector, like, text)) != 1:
        options = "one of --vector or --like or --text, or WORDS"
        raise click.UsageError(f"say what to search with: {options}")
    if (words is None) != (function is None):
        what = "WORDS go with --with MODULE:FUNCTION, which makes a vector of them"
        raise click.UsageError(f"{what}: give both or neither")
    if text_column is not None and text is None:
        raise click.UsageError("--text-column says where --text looks: give that, too")
    embed = None if function is None else embedder(function)
    with open_field(table, schema, vector_column, url, metric) as (database, field, metric):
        model = field.model
        plain = {each.column_name: each for each in plain_fields(model)}
        where: list[Any] = [condition(each, plain) for each in conditions]
        columns = [column_of(model, name) for name in dict.fromkeys(shown)]
        columns = columns or [each for each in plain.values() if not hasattr(each, "vector_field")]
        if embedding_model is not None:
            field.check_model(embedding_model)
        target: Any
        if embed is not None and words is not None:
            target = _embedded(embed, words, field, function)
        elif vector is not None:
            target = _vector(vector, field)
        elif like is not None:
            target = _row_by_key(model, field, like)
        else:
            column = _text_column(model, plain, text_column)
            found, target = _row_by_text(column, field, text or "")
            where.append((column.cast("text") != found) | column.is_null())
        settings |= {"exact": exact or None, "fresh": fresh}
        query = field.nearest(target, k, metric=metric, **settings)
        query = query.where(*where) if where else query
        query = query if per is None else query.per(column_of(model, per))
        names = [_shown_name(each.column_name, model._meta.columns) for each in columns]
        with naming_conditions(conditions):
            # Tuples, as the table may have columns named distance and score, too.
            query = query.select(*columns).tuples()
            found_rows = list(query.execute(database))
    rows = [{"score": row[-1], **dict(zip(names, row, strict=False))} for row in found_rows]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, ["score", *names])
    if len(rows) < k and per is not None and not exact:
        few = str(query.shortfall).replace("candidates=", "--candidates ")
        tell(few.replace("exact=True", "--exact"))
    elif len(rows) < k:
        ended = ", or the index ended its search early (--exact looks at every row)"
        why = f"no other row has a vector and passes{'' if exact else ended}"
        tell(f"{len(rows)} of {k} rows: {why}")


def _shown_name(column: str, columns: Collection[str]) -> str:
    name = column
    while name == "score" or (name != column and name in columns):
        name += "_"
    return name


def _text_column(model: Any, plain: Mapping[str, Any], name: str | None) -> Any:
    from lightvec.peewee.reflect import TextColumn, column_of

    if name is not None:
        return column_of(model, name)
    texts = [field for field in plain.values() if isinstance(field, TextColumn)]
    if len(texts) != 1:
        names = ", ".join(field.column_name for field in texts) or "none"
        remedy = "name one with --text-column" if texts else "search by --like or --vector"
        table = model._meta.table_name
        raise SchemaMismatch(f"the columns of text in the table {table} are: {names}; {remedy}")
    return texts[0]


def _row_by_text(column: Any, field: Any, words: str) -> tuple[str, Any]:
    """The text and vector of the one row with this text, or that begins so."""
    from peewee import fn

    text, table = column.cast("text"), column.model._meta.table_name
    rows: Sequence[Any] = ()
    for matches in (text == words, fn.starts_with(text, words)):
        query = column.model.select(text, field).where(matches).order_by(text).limit(6)
        rows = list(query.tuples())
        if rows:
            break
    else:
        what = f"whose {column.column_name} is {words!r} or begins with it"
        raise SchemaMismatch(f"the table {table} has no row {what}")
    found, vector = rows[0]
    if len(rows) > 1 and found == words:
        raise SchemaMismatch(f"several rows have the text {words!r}, so search with --like")
    if len(rows) > 1:
        listed = ", ".join(repr(row[0][:40]) for row in rows[:5])
        more = " and more" if len(rows) > 5 else ""
        begin = f"several rows begin with {words!r}, so give more of its text"
        raise SchemaMismatch(f"{begin}: {listed}{more}")
    if vector is None:
        raise SchemaMismatch(f"the row {found!r} of {table} has no embedding")
    return found, vector


def _row_by_key(model: Any, field: Any, key: str) -> Any:
    """The row with this key; the server reads its vector."""
    table, keys = model._meta.table_name, model._meta.get_primary_keys()
    if not keys:
        raise SchemaMismatch(f"the table {table} has no primary key: use --vector")
    names = ",".join(each.column_name for each in keys)
    values = [key] if len(keys) == 1 else key.split(",")
    if len(values) != len(keys):
        raise SchemaMismatch(
            f"the primary key of the table {table} has several columns: "
            f"give --like a value of each, separated by commas ({names})"
        )
    matches = (each.cast("text") == value for each, value in zip(keys, values, strict=True))
    row = model.select(*keys, field.is_null().alias("has_none")).where(*matches).first()
    if row is None:
        what = f"--like takes a value of its primary key, {names}"
        raise SchemaMismatch(f"the table {table} has no row {key}: {what}")
    if row.has_none:
        raise SchemaMismatch(f"the row {key} of {table} has no embedding")
    return row


def _embedded(embed: Any, words: str, field: Any, function: str | None) -> Any:
    (given,) = embed([words])
    try:
        return field.db_value(given)
    except InvalidVector as error:
        raise InvalidVector(f"--with {function}: {error}") from error


def _vector(text: str, field: Any) -> Any:
    path = Path(text[1:])
    if text.startswith("@") and path.suffix == ".npy":
        rows = matrix(path)
        if len(rows) != 1:
            raise InvalidOption(f"{path}: expected a matrix of one row, got {len(rows)}")
        return rows[0]
    try:
        if text == "-":
            text = standard_input().read()
        elif text.startswith("@"):
            text = path.read_text(encoding="utf-8")
        return field.value_class.from_text(text.strip())
    except OSError as error:
        wanted = "a file with a vector, such as [1,2,3], which cannot be read"
        raise InvalidOption(f"--vector {text}: expected {wanted}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        wanted = "a vector as text, such as [1,2,3], or a .npy file"
        raise InvalidOption(f"{path}: expected {wanted}: {error}") from error
    except InvalidVector as error:
        raise InvalidVector(f"--vector: {error}") from error
