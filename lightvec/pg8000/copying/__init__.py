"""Rows and columns into a table by binary COPY.

``load`` is the face. A ``target`` is asked for (the columns and their types), values become fields (``scalars``,
``vectors``) and fields blocks (``blocks``; NumPy's columns as whole ``arrays`` of ``fixed`` size; ``text`` where a type
has no binary form here). ``conflict`` loads by way of a temporary table.
"""
