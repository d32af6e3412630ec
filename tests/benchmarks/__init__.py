"""``make bench``: lightvec measured against psycopg 3, psycopg2, pg8000 and psql.

Both sides of a figure run alternately (A B A B ...), in one run, on one embedded server: other load
on the machine reaches both. ``timing`` has the clocks, ``workbench`` the server, the connections and
the data, ``figures`` a figure and its limits, ``report`` the table and the JSON, ``workers`` and
``apps`` what runs in processes of its own. The other modules are one kind of figure each.
"""
