"""Many tenants in one table: row level security lets each search its own rows only, through an index of its own.

    python -m examples.tenants

It makes a role, and drops it at the end: connect as a user who may do that.

It prints::

    acme sees 1,000 notes; example_note_of_acme
      acme: money collected under a tariff
      acme: the chief executive department of the United States government
    globex sees 1,000 notes; example_note_of_globex
      globex: the person who holds the secretaryship of the Treasury Department; "Al
      globex: the collection and study of money (and coins in particular)
    acme asks for those of globex: []
    acme changes them: 0 rows
    acme writes one for globex: new row violates row-level security policy for table "example_note" (SQLSTATE 42501)
    nobody in particular sees 0 notes
    the owner sees 2,000 notes
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle

from peewee import Model, ProgrammingError, TextField

from examples.wordnet import query_for, read_glosses
from lightvec.peewee import HalfVectorField, HnswIndex, Pg8000Database
from lightvec.search import explain

database = Pg8000Database(os.environ.get("DATABASE_URL", "embedded:.lightvec"))
TENANTS = ("acme", "globex")


class Note(Model):
    """What a tenant wrote. Large tenants have an index each; the rows of small ones are compared without any."""

    tenant = TextField()
    text = TextField()
    embedding = HalfVectorField(384, metric="cosine")

    class Meta:
        database = database
        table_name = "example_note"


# A superuser and the owner of a table see all of it. The application is neither: it works as this role.
SECURITY = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'example_application') THEN
        CREATE ROLE example_application NOLOGIN;
    END IF;
END $$;
GRANT example_application TO CURRENT_USER;
GRANT SELECT, INSERT, UPDATE, DELETE ON example_note TO example_application;
GRANT USAGE ON SEQUENCE example_note_id_seq TO example_application;
ALTER TABLE example_note ENABLE ROW LEVEL SECURITY;
CREATE POLICY example_own_rows ON example_note TO example_application
    USING (tenant = current_setting('app.tenant', true)) WITH CHECK (tenant = current_setting('app.tenant', true))
"""


@contextmanager
def acting_for(tenant: str) -> Iterator[None]:
    """A transaction of one tenant. Both settings end with it, so that a pooled connection carries nothing on."""
    with database.atomic():
        database.execute_sql(
            "SELECT set_config('role', 'example_application', true), set_config('app.tenant', %s, true)", (tenant,)
        )
        yield


def main() -> None:
    """Two tenants with a thousand notes each."""
    database.execute_sql("CREATE EXTENSION IF NOT EXISTS vector")
    database.drop_tables([Note])
    database.create_tables([Note])
    database.execute_sql(SECURITY)
    rows = zip(cycle(TENANTS), read_glosses(), strict=False)
    database.copy_rows(
        Note, ({"tenant": tenant, "text": row["text"], "embedding": row["embedding"]} for tenant, row in rows)
    )
    for tenant in TENANTS:
        Note.add_index(HnswIndex(Note.embedding, where=Note.tenant == tenant, name=f"example_note_of_{tenant}"))
    Note.create_table()  # The table stands; made after the load, its indexes take half the time.
    database.execute_sql("ANALYZE example_note")

    query = query_for("Internal Revenue Service")
    for tenant in TENANTS:
        with acting_for(tenant):
            # The policy holds whatever is asked. By the condition the planner finds the tenant's index.
            search = Note.embedding.nearest(query.embedding, k=2).where(Note.tenant == tenant)
            print(f"{tenant} sees {Note.select().count():,} notes; {explain(search).index}")
            for note in search:
                print(f"  {note.tenant}: {note.text[:70]}")

    with acting_for("acme"):
        theirs = Note.embedding.nearest(query.embedding).where(Note.tenant == "globex")
        print("acme asks for those of globex:", list(theirs))
        print("acme changes them:", Note.update(text="").where(Note.tenant == "globex").execute(), "rows")
    try:
        with acting_for("acme"):
            Note.create(tenant="globex", text="planted", embedding=query.embedding)
    except ProgrammingError as error:
        print("acme writes one for globex:", str(error).partition(";")[0])
    with acting_for(""):
        print("nobody in particular sees", Note.select().count(), "notes")
    # After the transactions the connection is its owner's again.
    print(f"the owner sees {Note.select().count():,} notes")
    database.drop_tables([Note])
    database.execute_sql("DROP ROLE example_application")


if __name__ == "__main__":
    with database.connection_context():
        main()
