# METADATA
# title: Conntrack keeps TCP entries too long or not long enough
# description: |
#   Entries of dead connections that stay for days fill the table. Entries that go away before keepalive would have refreshed them break
#   idle connections: the next segment meets no entry and is answered with a reset.
# related_resources:
#   - ref: https://www.rfc-editor.org/rfc/rfc5382
#   - ref: https://docs.kernel.org/networking/nf_conntrack-sysctl.html
# custom:
#   severity: low
#   remediation: |
#     Set nf_conntrack_tcp_timeout_established between 7440 and 86400 seconds, and close_wait to an hour at most.
package control.tab["CT-TAB-047"]

import data.lib.fix
import data.lib.node
import data.lib.path
import data.lib.result
import data.lib.table

established := "net.netfilter.nf_conntrack_tcp_timeout_established"

close_wait := "net.netfilter.nf_conntrack_tcp_timeout_close_wait"

seconds[key] := node.number(key) if some key in [established, close_wait]

evidence(key) := [{"kind": "sysctl", "name": key, "value": sprintf("%d", [seconds[key]])}]

none(_) if path.idle

none(key) if node.absent(key)

results contains judge(key) if some key in [established, close_wait]

judge(key) := result.not_applicable(key, "conntrack is not used here, or has no such timeout.") if {
	none(key)
} else := result.unknown(key, sprintf("%s.", [node.key_gap(key).why]), node.hint([node.key_gap(key)])) if {
	not seconds[key]
} else := result.fail(key, sprintf("%s for %d s.", [finding(key).message, seconds[key]]), {
	"severity": finding(key).severity,
	"evidence": evidence(key),
	"fix": fix.sysctl(key, finding(key).value),
}) if {
	finding(key)
} else := result.pass(key, sprintf("Entries are kept for %d s.", [seconds[key]]), evidence(key))

# Twice the hour of keepalive and four minutes: RFC 5382, REQ-5.
finding(key) := {"message": "Established entries live too short for a connection that idles between keepalives: they are kept", "severity": short_severity, "value": 86400} if {
	key == established
	seconds[key] < 7440
} else := {"message": "Entries of dead connections are kept", "severity": long_severity, "value": 86400} if {
	key == established
	seconds[key] >= 432000
	translating
} else := {"message": "Entries of half-closed connections are kept", "severity": "low", "value": 3600} if {
	key == close_wait
	seconds[key] > 3600
}

short_severity := "medium" if {
	seconds[established] < 3600
} else := "low"

long_severity := "medium" if {
	table.usage >= 0.7
} else := "low"

# A node that is not known to be without source NAT.
translating if {
	some f in path.families
	path.egress[f].is != "no"
}
