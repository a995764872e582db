# METADATA
# title: Replies of source-NATed IPv6 flows are answered with a reset
# description: |
#   The IPv6 side of CT-RST-001: where IPv6 is source-NATed, an INVALID reply keeps the node's own address and is answered with
#   a reset. Guards set for IPv4 do nothing for IPv6.
# related_resources:
#   - ref: https://github.com/kubernetes/kubernetes/issues/117924
#   - ref: https://github.com/moby/libnetwork/issues/1090
# custom:
#   severity: high
#   remediation: |
#     Drop INVALID packets after conntrack and before they reach the node's own TCP, for the family concerned:
#     iptables -t mangle -I PREROUTING -m conntrack --ctstate INVALID -j DROP (ip6tables for IPv6), or a native nft filter
#     chain at prerouting priority -150 with ct state invalid drop. Never in raw.
package control.rst["CT-RST-002"]

import data.lib.exposure

results contains r if some r in exposure.egress("ip6")
