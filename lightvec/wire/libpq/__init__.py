"""What libpq does before it connects.

``conninfo`` parses connection strings, ``parameters`` is the one table of parameters, ``passfile``
reads the password file, and ``target`` puts them together.
"""
