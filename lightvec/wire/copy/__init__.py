"""COPY: rows and columns into a table, files in and out.

- ``load``: ``copy_rows`` and ``copy_columns``. ``copy_in``: COPY FROM STDIN, and the caller's files.
- ``target``: the table and the types of its columns. ``conflict``: ``on_conflict``.
- ``blocks``: rows to CopyData messages. ``arrays``: NumPy arrays. ``text``: text format.
"""
