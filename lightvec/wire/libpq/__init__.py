"""What libpq does before it connects.

``parameters`` is the one table of parameters, ``conninfo`` parses connection strings, ``passfile``
reads the password file, and ``target`` puts them together.
"""
