"""The four vector fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, overload

from peewee import Database, Expression, Field, Model, ModelSelect, Node, Value

from lightvec.errors import InvalidOption, SchemaMismatch
from lightvec.metrics import METRICS, Metric, metric_for, metric_of_call, metrics_of
from lightvec.peewee._seam import database_of, extend_playhouse
from lightvec.peewee.generics import M, TypedField, V
from lightvec.peewee.indexes import (
    HnswIndex,
    IndexOfField,
    IvfflatIndex,
    bind_indexes,
    declare_index,
)
from lightvec.peewee.nearest import Nearest
from lightvec.peewee.quantization import usual_quantization
from lightvec.types import Bit, HalfVector, SparseVector, Vector
from lightvec.types.columns import check_dimensions, column_value

if TYPE_CHECKING:
    from uuid import UUID

Owner = TypeVar("Owner", bound=Model)


_INDEXES: dict[str, Any] = {"hnsw": HnswIndex, "ivfflat": IvfflatIndex}

#: The prefix of the name that Peewee's ArrayField gives its element field.
_ELEMENT = "__array_"


class _DistanceField(TypedField[V, M]):
    value_class: ClassVar[Any]
    metrics: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        dimensions: int | None = None,
        *,
        metric: str | None = None,
        index: str | bool = False,
        model: str | None = None,
        source: str | Sequence[str] = (),
        **field_options: Any,
    ) -> None:
        self.dimensions = check_dimensions(dimensions, self.value_class)
        self.metric = None if metric is None else metric_for(metric, self.metrics).name
        self.index_method = index if isinstance(index, str) else None
        if self.index_method is not None and self.index_method not in _INDEXES:
            raise InvalidOption(f"expected index='hnsw' or index='ivfflat', got {index!r}")
        #: The name of the embedding model, and the fields of the texts that it reads.
        self.embedding_model = model
        self.source = (source,) if isinstance(source, str) else tuple(source)
        if model is not None and not (isinstance(model, str) and model):
            raise InvalidOption(f"expected model= to be the name of an embedding model, got {model!r}")
        if self.source:
            if model is None:
                raise InvalidOption("source= needs model=, the name of the embedding model")
            # A row is stored before its vector is made.
            field_options.setdefault("null", True)
        super().__init__(index=index is True, **field_options)

    def bind(self, model: Any, name: str, set_attribute: bool = True) -> None:
        super().bind(model, name, set_attribute)
        extend_playhouse()
        if not set_attribute:
            if name.startswith(_ELEMENT):
                # Otherwise the driver gets a list of lists, which is an array of numbers.
                getattr(model, name.removeprefix(_ELEMENT)).convert_values = True
            return
        bind_indexes(model, self)
        if self.index_method is not None:
            form = usual_quantization(self.field_type, self.dimensions)
            declare_index(model, _INDEXES[self.index_method](self, quantize=form))
        if self.source:
            from lightvec.peewee.embedding_source import add_hash

            add_hash(model, self)

    def clone(self) -> Any:
        """A copy, of which playhouse.migrate creates the column and its index."""
        copy = super().clone()
        if self.index_method is not None:
            # Now, because playhouse.migrate adds the column before it writes the index.
            form = usual_quantization(self.field_type, self.dimensions)
            _INDEXES[self.index_method](copy, quantize=form).check()
            copy.index, copy.index_type = True, IndexOfField(self.index_method, copy)
        return copy

    def get_modifiers(self) -> list[int] | None:
        return None if self.dimensions is None else [self.dimensions]

    def ddl(self, ctx: Any) -> Any:
        if hasattr(ctx, "defined_fields"):
            ctx.defined_fields.append(self)
        return super().ddl(ctx)

    def db_value(self, value: Any) -> Any:
        """The value to send, which is text for the drivers of other databases."""
        if value is None or isinstance(value, Node):
            return value
        vector = column_value(self.value_class, value, self.dimensions, self.display_name)
        return vector if self._other_database is None else vector.wire_text()

    def python_value(self, value: Any) -> Any:
        """The value, also from the text that other drivers give."""
        return self.value_class.from_text(value) if isinstance(value, str) else value

    def to_value(self, value: Any) -> Any:
        # Converted here: where the expression is in a query twice, the wire sends one object once.
        if isinstance(value, Node):
            return value
        return Value(self.db_value(value), converter=False, unpack=False)

    @property
    def _other_database(self) -> Database | None:
        """The model's database if it runs on another driver."""
        database = database_of(self.model) if hasattr(self, "model") else None
        return None if database is None or hasattr(database, "extension") else database

    @property
    def display_name(self) -> str:
        if not hasattr(self, "model"):
            return type(self).__name__
        return f"{self.model.__name__}.{self.name.removeprefix(_ELEMENT)}"

    def __eq__(self, other: object) -> Any:
        return super().__eq__(self._operand(other))

    def __ne__(self, other: object) -> Any:
        return super().__ne__(self._operand(other))

    __hash__ = Field.__hash__

    # pgvector adds, subtracts and multiplies element by element.

    def __add__(self, other: Any) -> Any:
        return super().__add__(self._operand(other))

    def __sub__(self, other: Any) -> Any:
        return super().__sub__(self._operand(other))

    def __mul__(self, other: Any) -> Any:
        return super().__mul__(self._operand(other))

    def in_(self, vectors: Any) -> Expression:
        return super().in_(self._operands(vectors))

    def not_in(self, vectors: Any) -> Expression:
        return super().not_in(self._operands(vectors))

    __lshift__ = in_

    def _operand(self, value: Any) -> Any:
        return None if value is None else self.to_value(value)

    def _operands(self, vectors: Any) -> Any:
        return vectors if isinstance(vectors, Node) else list(map(self.to_value, vectors))

    def distance(self, vector: Any, *, metric: str | None = None) -> Expression:
        """The distance by ``metric`` or the declared one."""
        return self.distance_by(self.resolve_metric(metric), vector)

    def score(self, vector: Any, *, metric: str | None = None) -> Expression:
        """The score, higher is better (:mod:`lightvec.metrics`)."""
        resolved = self.resolve_metric(metric)
        score: Expression = resolved.score.of(self.distance_by(resolved, vector))
        return score

    def nearest(
        self,
        vector: Any,
        k: int = 10,
        *,
        metric: str | None = None,
        exact: bool | None = None,
        ef_search: int | None = None,
        probes: int | None = None,
        iterative_scan: str | bool | None = None,
        min_score: float | None = None,
        diverse: float = 0,
        candidates: int | None = None,
        model: str | None = None,
        fresh: bool = False,
    ) -> Nearest[M]:
        """The ``k`` rows nearest to a vector, nearest first, as a Peewee query.

        ``vector`` may be a stored row of the model, to find rows like it, or a query that gives a
        vector. Each row has ``.distance`` and ``.score``. Settings hold for this query only.

        - ``metric`` overrides the field's own.
        - ``exact=True`` compares with every row, without an index. By default a second statement
          does so if the index finds fewer than ``k`` rows, and ``.fallback`` says so;
          ``exact=False`` forbids it. ``stream`` and searches in another statement have none.
        - ``ef_search`` (HNSW) and ``probes`` (IVFFlat) trade time for recall. ``ef_search`` is at
          least ``k``; ``probes`` is by default the square root of the lists of the model's index,
          with a condition or join four times that.
        - ``iterative_scan`` (pgvector 0.8): ``"strict_order"``, ``"relaxed_order"``, True or False.
          The index searches on until enough rows pass the filter; by default if there is one.
        - ``min_score`` leaves out rows with a lower score.
        - ``diverse``, from 0 to 1, says how much rows unlike each other count (maximal marginal
          relevance). The ``k`` rows, in the order in which they were chosen, are of
          ``candidates`` (by default 4 times as many, at least 40, at most 1,000), each compared
          with each by the server. Such a search cannot be part of another query.
        - ``candidates`` is how many rows the index finds at least: more for ``diverse``, :meth:`per
          <lightvec.peewee.generics.ScoredSelect.per>` and quantized indexes to choose among.
        - ``model`` is the embedding model of ``vector``: another than the field's is an error.
        - ``fresh=True`` leaves out rows whose text has changed since their vector was made.

        If fewer than ``k`` rows come, ``.shortfall`` says why. Rows without a vector are never
        found. By cosine an index leaves out vectors of zeros, too; ``exact=True`` puts them last,
        at the distance NaN.
        """
        if self._other_database is not None:
            raise InvalidOption(
                f"{self.display_name}.nearest needs a lightvec.peewee.Pg8000Database: on a "
                f"{type(self._other_database).__name__}, order by a distance method, and limit"
            )
        if model is not None:
            self.check_model(model)
        query: Nearest[M] = Nearest(
            self, vector, k, metric, exact, ef_search, probes, iterative_scan, min_score, diverse, candidates
        )
        return query.where(~self._is_pending()) if fresh else query

    def pending(self) -> ModelSelect[M]:
        """The rows whose vector was not made by this model of their present text.

        The server compares hashes, so it does not matter how the text was changed. Needs
        ``source=``.
        """
        query: ModelSelect[M] = self.model.select().where(self._is_pending())
        return query

    def hash_of(self, *texts: str | None) -> UUID | None:
        """What to store beside a vector that the application made of these texts itself.

        ``Doc.create(body=body, embedding=vector, embedding_hash=Doc.embedding.hash_of(body))`` is
        not pending. The texts are in the order of ``source=``.
        """
        from lightvec.peewee.embedding_source import hash_of

        return hash_of(self, texts)

    def check_model(self, model: str) -> None:
        """:class:`~lightvec.errors.SchemaMismatch` if the field's vectors are of another model."""
        if model != self.embedding_model:
            raise SchemaMismatch(
                f"{self.display_name} holds vectors of "
                f"{self.embedding_model or 'a model that it does not name (model=)'}, "
                f"got one of {model}: distances between two models mean nothing"
            )

    def _is_pending(self) -> Expression:
        from lightvec.peewee.embedding_source import is_pending

        return is_pending(self)

    def resolve_metric(self, metric: str | None = None) -> Metric:
        name = metric or self.metric
        return metric_of_call(name, self.display_name, type(self).__name__, self.metrics)

    def distance_by(self, metric: Metric, vector: Any) -> Expression:
        # The driver gets %s placeholders, so % is doubled.
        return Expression(self, metric.operator.replace("%", "%%"), self.to_value(vector))


class _NumericField(_DistanceField[V, M]):
    metrics = metrics_of("vector")

    def l2_distance(self, vector: Any) -> Expression:
        """The Euclidean distance."""
        return self.distance_by(METRICS["l2"], vector)

    def max_inner_product(self, vector: Any) -> Expression:
        """The negative inner product."""
        return self.distance_by(METRICS["ip"], vector)

    def cosine_distance(self, vector: Any) -> Expression:
        """1 minus the cosine of the angle; NaN for zeros."""
        return self.distance_by(METRICS["cosine"], vector)

    def l1_distance(self, vector: Any) -> Expression:
        """The sum of the absolute differences."""
        return self.distance_by(METRICS["l1"], vector)


class VectorField(_NumericField[V, M]):
    """A ``vector`` column, single precision; values are :class:`lightvec.Vector`."""

    field_type = "vector"
    value_class = Vector

    if TYPE_CHECKING:

        @overload
        def __new__(
            cls, dimensions: int | None = None, *, null: Literal[True], **options: Any
        ) -> VectorField[Vector | None]: ...
        @overload
        def __new__(cls, dimensions: int | None = None, **options: Any) -> VectorField[Vector]: ...
        def __new__(cls, *args: Any, **options: Any) -> Any: ...

        @overload
        def __get__(self, instance: None, owner: type[Owner]) -> VectorField[V, Owner]: ...
        @overload
        def __get__(self, instance: object, owner: Any) -> V: ...
        def __get__(self, instance: object | None, owner: Any) -> Any: ...


class HalfVectorField(_NumericField[V, M]):
    """A ``halfvec`` column, half precision; values are :class:`lightvec.HalfVector`."""

    field_type = "halfvec"
    value_class = HalfVector

    if TYPE_CHECKING:

        @overload
        def __new__(
            cls, dimensions: int | None = None, *, null: Literal[True], **options: Any
        ) -> HalfVectorField[HalfVector | None]: ...
        @overload
        def __new__(cls, dimensions: int | None = None, **options: Any) -> HalfVectorField[HalfVector]: ...
        def __new__(cls, *args: Any, **options: Any) -> Any: ...

        @overload
        def __get__(self, instance: None, owner: type[Owner]) -> HalfVectorField[V, Owner]: ...
        @overload
        def __get__(self, instance: object, owner: Any) -> V: ...
        def __get__(self, instance: object | None, owner: Any) -> Any: ...


class SparseVectorField(_NumericField[V, M]):
    """A ``sparsevec`` column; values are :class:`lightvec.SparseVector`."""

    field_type = "sparsevec"
    value_class = SparseVector

    if TYPE_CHECKING:

        @overload
        def __new__(
            cls, dimensions: int | None = None, *, null: Literal[True], **options: Any
        ) -> SparseVectorField[SparseVector | None]: ...
        @overload
        def __new__(cls, dimensions: int | None = None, **options: Any) -> SparseVectorField[SparseVector]: ...
        def __new__(cls, *args: Any, **options: Any) -> Any: ...

        @overload
        def __get__(self, instance: None, owner: type[Owner]) -> SparseVectorField[V, Owner]: ...
        @overload
        def __get__(self, instance: object, owner: Any) -> V: ...
        def __get__(self, instance: object | None, owner: Any) -> Any: ...


class FixedBitField(_DistanceField[V, M]):
    """A ``bit(max_length)`` column; values are :class:`lightvec.Bit`, equal to their text."""

    field_type = "bit"
    value_class = Bit
    metrics = metrics_of("bit")

    @property
    def max_length(self) -> int | None:
        """The number of bits."""
        return self.dimensions

    def hamming_distance(self, vector: Any) -> Expression:
        """The number of bits that differ."""
        return self.distance_by(METRICS["hamming"], vector)

    def jaccard_distance(self, vector: Any) -> Expression:
        """1 minus the share of common ones among all ones."""
        return self.distance_by(METRICS["jaccard"], vector)

    if TYPE_CHECKING:

        @overload
        def __new__(
            cls, max_length: int | None = None, *, null: Literal[True], **options: Any
        ) -> FixedBitField[Bit | None]: ...
        @overload
        def __new__(cls, max_length: int | None = None, **options: Any) -> FixedBitField[Bit]: ...
        def __new__(cls, *args: Any, **options: Any) -> Any: ...

        @overload
        def __get__(self, instance: None, owner: type[Owner]) -> FixedBitField[V, Owner]: ...
        @overload
        def __get__(self, instance: object, owner: Any) -> V: ...
        def __get__(self, instance: object | None, owner: Any) -> Any: ...
    else:
        # Here, as mypy would prefer it to __new__.
        def __init__(self, max_length: int | None = None, **options: Any) -> None:
            super().__init__(max_length, **options)
