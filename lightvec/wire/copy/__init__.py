"""COPY: rows and columns into a table, files in and out.

- ``copy_in``: a COPY that data is pushed into; a COPY from and to the caller's files.
- ``load``: ``copy_rows`` and ``copy_columns``. ``target``: the table and the types of its columns.
  ``conflict``: rows that may exist already, by way of a temporary table.
- ``blocks``, ``arrays``, ``fixed``, ``text``: values to CopyData messages: row by row, whole arrays, arrays of a
  fixed size, as text. ``sending``: the messages to the server.
"""
