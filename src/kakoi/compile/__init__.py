"""The compiler: one policy becomes every host's finished files (policy -> compile -> observe -> reach -> evidence).

``network`` decides addresses, routes and paths; ``elements`` says which flow lets what pass where; ``nftables``,
``networkd``, ``sysctl`` and ``names`` write text; ``truth`` says what the deployed network must answer; ``artifacts``
gathers everything and puts it on disk. Nothing here asks a running host.
"""
