"""COPY: rows and columns into a table, files in and out.

- ``load``: ``copy_rows`` and ``copy_columns``; ``target``: the table; ``conflict``: ``on_conflict``.
- ``blocks``: rows to CopyData messages; ``arrays``: NumPy arrays.
- ``copy_in``: COPY FROM STDIN, and the caller's files.
"""
