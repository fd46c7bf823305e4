"""Who may do what: rules, requests, decisions with reasons, expectations.

Pure: values in, values out. Deny is the absence of a rule.
"""
