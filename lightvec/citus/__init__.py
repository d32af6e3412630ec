"""Citus in the driver, behind one hook: ``settings_scope`` makes settings reach the workers.

Loaded only if the database has Citus.
"""
