# METADATA
# title: Replies of Service backends are reset by the client pod
# description: |
#   A reply from the backend of a Service that conntrack calls INVALID keeps the backend's address. It is forwarded to the client
#   pod, which knows no such peer and answers with a reset, unless a rule of the forward path drops it.
# related_resources:
#   - ref: https://github.com/kubernetes/kubernetes/issues/74839
#   - ref: https://kubernetes.io/blog/2019/03/29/kube-proxy-subtleties-debugging-an-intermittent-connection-reset/
#   - ref: https://github.com/kubernetes/kubernetes/pull/120412
# custom:
#   severity: high
#   remediation: |
#     Set net.netfilter.nf_conntrack_tcp_be_liberal=1 on the node (kube-proxy: conntrack.tcpBeLiberal: true), or drop INVALID packets
#     that come from the pod network in FORWARD: iptables -I FORWARD -s POD-CIDR -m conntrack --ctstate INVALID -j DROP.
package control.rst["CT-RST-003"]

import data.lib.exposure
import data.lib.path

results contains exposure.services(f) if some f in path.families
