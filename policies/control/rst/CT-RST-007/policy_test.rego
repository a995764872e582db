package test.rst["CT-RST-007"]

import data.control.rst["CT-RST-007"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

implicit := fixture.patch(fixture.guarded, {"exposure": [fixture.patch(fixture.protected, {
	"implicit": true,
	"decidedBy": fixture.patch(fixture.rule("INPUT", 0, ""), {"policy": "drop"}),
})]})

test_policy_drop_fails if {
	r := judge(implicit)
	r.outcome == "fail"
	r.subject == "ipv4 eth0"
	contains(r.message, "the policy of iptables-nft ip filter INPUT (drop)")
	contains(r.fix, "--ctstate INVALID -j DROP")
}

test_explicit_drop_passes if judge(fixture.guarded).outcome == "pass"

test_exposed_is_not_applicable if {
	r := judge(fixture.docker)
	r.outcome == "not-applicable"
	contains(r.message, "does not protect")
}

test_liberal_is_not_applicable if {
	judge(fixture.patch(implicit, {"liberal": fixture.known(1)})).outcome == "not-applicable"
}

test_no_snat_is_not_applicable if {
	judge(fixture.patch(implicit, {"snat": {"ip": fixture.known([])}})).outcome == "not-applicable"
}

test_no_uplink_is_not_applicable if {
	judge(fixture.patch(fixture.docker, {"exposure": []})).subject == "node"
}

test_undecided_is_unknown if {
	judge(fixture.patch(fixture.docker, {"exposure": [fixture.undecided]})).outcome == "unknown"
}
