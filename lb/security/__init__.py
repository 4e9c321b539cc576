"""Who a peer is and what it may do: TLS, identities, credentials, policy, job ACLs and the development PKI.

Nothing here knows what a query or an event is.
"""
