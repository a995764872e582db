# METADATA
# title: Replies of source-NATed IPv4 flows are answered with a reset
# description: |
#   A reply to a container's source-NATed flow that conntrack calls INVALID is not translated back. It keeps the node's own
#   address, reaches the node's own TCP, and is answered with a reset that kills the container's connection, unless a rule drops
#   the packet or the reset.
# related_resources:
#   - ref: https://github.com/moby/libnetwork/issues/1090
#   - ref: https://github.com/kubernetes/kubernetes/issues/117924
# custom:
#   severity: high
#   remediation: |
#     Drop INVALID packets after conntrack and before they reach the node's own TCP, for the family concerned:
#     iptables -t mangle -I PREROUTING -m conntrack --ctstate INVALID -j DROP (ip6tables for IPv6), or a native nft filter
#     chain at prerouting priority -150 with ct state invalid drop. Never in raw.
package control.rst["CT-RST-001"]

import data.lib.exposure

results contains r if some r in exposure.egress("ip")
