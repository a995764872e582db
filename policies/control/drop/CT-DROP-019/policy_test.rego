package test.drop["CT-DROP-019"]

import data.control.drop["CT-DROP-019"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

six := fixture.exposure("A", "ip6", "eth0")

dual(four, e) := fixture.patch(fixture.docker, {
	"forwarding": {"ip6": fixture.known(true)},
	"snat": {"ip6": fixture.known([fixture.patch(fixture.masquerade, {"rule": {"family": "ip6"}})])},
	"uplinks": [{"name": "eth0", "families": ["ip", "ip6"]}],
	"exposure": [four, e],
	"drops": [fixture.drop(fixture.input_drop, ["input"])],
})

six_protected := fixture.patch(fixture.protected, {"family": "ip6"})

test_ipv4_only_fails if {
	r := judge(dual(fixture.protected, six))
	r.outcome == "fail"
	r.severity == "high"
	r.subject == "ipv6"
	contains(r.message, "IPv4 is protected and IPv6 is not")
	startswith(r.fix, "ip6tables ")
}

test_ipv6_only_fails if {
	r := judge(dual(fixture.exposed, six_protected))
	r.subject == "ipv4"
	startswith(r.fix, "iptables ")
}

test_partial_kernel_is_medium if {
	judge(fixture.patch(dual(fixture.protected, six), {"kernel": {"fix": "partial"}})).severity == "medium"
}

test_both_protected_pass if judge(dual(fixture.protected, six_protected)).outcome == "pass"

test_neither_protected_is_not_applicable if judge(dual(fixture.exposed, six)).outcome == "not-applicable"

test_one_translated_family_is_not_applicable if judge(fixture.guarded).outcome == "not-applicable"

test_liberal_is_not_applicable if {
	judge(fixture.patch(dual(fixture.protected, six), {"liberal": fixture.known(1)})).outcome == "not-applicable"
}

test_undecided_is_unknown if {
	e := fixture.patch(fixture.undecided, {"family": "ip6"})
	r := judge(dual(fixture.protected, e))
	r.outcome == "unknown"
	contains(r.message, "IPv6")
}

test_unread_rules_are_unknown if {
	node := fixture.patch(dual(fixture.protected, six), {"snat": {"ip": fixture.unread, "ip6": fixture.unread}, "exposure": []})
	judge(node).outcome == "unknown"
}
