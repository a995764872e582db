package test.drop["CT-DROP-012"]

import data.control.drop["CT-DROP-012"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

input_only := fixture.patch(fixture.service_exposed, {
	"exposure": [fixture.protected, fixture.exposure("B", "ip", "cni0")],
	"drops": [fixture.drop(fixture.input_drop, ["input"])],
})

test_input_only_fails if {
	r := judge(input_only)
	r.outcome == "fail"
	r.severity == "medium"
	r.subject == "ipv4 services"
	contains(r.message, "rule 2 of iptables-nft ip filter INPUT")
}

test_both_hooks_pass if judge(fixture.patch(input_only, {"drops": [
	fixture.drop(fixture.input_drop, ["input"]),
	fixture.drop(fixture.forward_drop, ["forward"]),
]})).outcome == "pass"

test_liberal_passes if judge(fixture.patch(input_only, {"liberal": fixture.known(1)})).outcome == "pass"

test_no_service_is_not_applicable if {
	judge(fixture.patch(input_only, {"serviceProxy": fixture.known("none")})).outcome == "not-applicable"
}

test_node_without_services_passes if judge(fixture.guarded).outcome == "pass"

test_undecided_is_unknown if {
	e := fixture.patch(fixture.undecided, {"question": "B", "interface": "cni0"})
	judge(fixture.patch(input_only, {"exposure": [e]})).outcome == "unknown"
}

test_no_drop_is_not_applicable if judge(fixture.docker).outcome == "not-applicable"

test_unread_rules_are_unknown if {
	r := judge(fixture.blind)
	r.outcome == "unknown"
	r.hint == "run as root"
}
