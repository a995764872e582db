package test.drop["CT-DROP-021"]

import data.control.drop["CT-DROP-021"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

slow := fixture.rule("INPUT", 1, "-m conntrack --ctstate INVALID -m limit --limit 10/s -j DROP")

node(e) := fixture.patch(fixture.docker, {
	"drops": [fixture.patch(fixture.drop(slow, ["input"]), {"limited": "limit"})],
	"exposure": [fixture.patch(e, {"shadowed": [fixture.shadow(slow, "limited")]})],
})

test_exposed_fails if {
	r := judge(node(fixture.exposed))
	r.outcome == "fail"
	not "severity" in object.keys(r) # METADATA's: medium
	contains(r.message, "(limit)")
}

test_undecided_by_the_limit_fails if judge(node(fixture.undecided)).outcome == "fail"

test_protected_otherwise_passes if judge(node(fixture.protected)).outcome == "pass"

test_liberal_passes if judge(fixture.patch(node(fixture.exposed), {"liberal": fixture.known(1)})).outcome == "pass"

test_no_snat_is_not_applicable if {
	judge(fixture.patch(node(fixture.exposed), {"snat": {"ip": fixture.known([])}})).outcome == "not-applicable"
}

test_undecided_by_something_else_is_unknown if {
	judge(fixture.patch(node(fixture.exposed), {"exposure": [fixture.undecided]})).outcome == "unknown"
}

test_unlimited_passes if judge(fixture.guarded).outcome == "pass"

test_no_drop_is_not_applicable if judge(fixture.docker).outcome == "not-applicable"

test_unread_rules_are_unknown if {
	r := judge(fixture.blind)
	r.outcome == "unknown"
	r.hint == "run as root"
}
