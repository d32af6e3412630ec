"""``make bench``: lightvec measured against psycopg 3, pg8000 with pgvector's adapter, and psql.

Both sides of a figure are measured in turn (A B A B …) in one run on one embedded server, so that what else the
machine does reaches both. The files: ``measuring`` (clocks and turns), ``figures`` (a figure and its limits), ``stand``
(the server, the connections, the data), ``workers`` (processes of their own), ``report`` (the table and the JSON); then
one file for each kind of figure. ``apps`` holds what runs in processes of its own.
"""
