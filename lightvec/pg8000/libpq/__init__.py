"""What libpq does before there is a connection, with its words and their meaning.

``conninfo`` (the two forms of a connection string), ``keywords`` (the one table of parameters) and ``passfile`` are put
together by ``dsn`` to a :class:`~lightvec.pg8000.libpq.dsn.Target`; ``tls`` and ``transport`` open a socket to it.
"""
