"""What Citus needs of the driver, behind one hook: ``framing`` has settings reach the workers.

It is loaded where the database has Citus, and nowhere else.
"""
