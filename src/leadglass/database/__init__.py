"""The one encrypted SQL database: engine, transactions, migrations.

It exists so that an index row and its audit event can share one transaction
although ``index`` and ``audit`` do not know each other.
"""
