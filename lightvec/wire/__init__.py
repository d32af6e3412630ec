"""The core of the driver: a session with a PostgreSQL server, which connections are composed of.

It knows no ORM and no driver's interface. From below:

- ``errors``: the exception classes of PEP 249, by SQLSTATE. ``timeouts``: deadlines and limits.
- ``protocol``: the messages, without a socket. ``transport``: the socket.
- ``datatypes``: the one table of data types; ``text_decoders`` and ``binary_encoders``: what it refers to;
  ``parameters``: from Python values to types; ``jsonb``: JSON values; ``adapters``: the conversions of one
  connection.
- ``placeholders``, ``identifiers``, ``advice``: the text of SQL, names, remedies.
- ``results``: the result of a statement. ``statements``: what a connection remembers of statements.
- ``session``: the connection's state, and responses matched to requests in order; whether a
  statement that failed may have taken effect (``in_doubt``).
- ``settings``: settings for one statement. ``lookup``: what each connection reads from the catalog.
- ``execute``: run one statement. ``pipeline``: many under one Sync. ``portal``: rows in batches.
  ``fetch``: rows as arrays. ``copy``: COPY.
- ``libpq``: connection strings and parameters. ``sockets``, ``tls``, ``auth``, ``scram``, ``cancel``,
  ``connecting``: from a target to a session.
"""
