"""The audit log as FHIR R4: the Audit Record Repository of IHE's RESTful ATNA."""
