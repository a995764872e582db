package test.drop["CT-DROP-017"]

import data.control.drop["CT-DROP-017"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

bridge := fixture.rule("INPUT", 1, "-i docker0 -m conntrack --ctstate INVALID -j DROP")

scoped(reason, change) := fixture.patch(fixture.docker, {
	"drops": [fixture.patch(fixture.drop(bridge, ["input"]), {"inInterfaces": ["docker0"]})],
	"exposure": [fixture.patch(fixture.exposed, {"shadowed": [fixture.patch(fixture.shadow(bridge, reason), change)]})],
})

test_bridge_fails if {
	r := judge(scoped("other-interface", {}))
	r.outcome == "fail"
	r.severity == "high"
	contains(r.message, "come in by eth0")
}

test_subnet_fails if {
	r := judge(scoped("scoped", {}))
	contains(r.message, "do not cover a reply to the node's own address")
}

test_detail_is_told if {
	contains(judge(scoped("scoped", {"detail": "daddr is 172.17.0.0/16"})).message, "not these: daddr is 172.17.0.0/16.")
}

test_other_uplink_is_another_story if {
	node := fixture.patch(scoped("other-interface", {}), {"uplinks": [{"name": "eth0", "families": ["ip"]}, {"name": "docker0", "families": ["ip"]}]})
	judge(node).outcome == "pass"
}

test_protected_otherwise_passes if {
	node := scoped("scoped", {})
	e := fixture.patch(fixture.protected, {"shadowed": node.exposure[0].shadowed})
	judge(fixture.patch(node, {"exposure": [e]})).outcome == "pass"
}

test_no_snat_is_not_applicable if {
	judge(fixture.patch(scoped("scoped", {}), {"snat": {"ip": fixture.known([])}})).outcome == "not-applicable"
}

test_undecided_is_unknown if {
	node := scoped("scoped", {})
	e := fixture.patch(fixture.undecided, {"shadowed": node.exposure[0].shadowed})
	judge(fixture.patch(node, {"exposure": [e]})).outcome == "unknown"
}

test_unscoped_passes if judge(fixture.guarded).outcome == "pass"

test_no_drop_is_not_applicable if judge(fixture.docker).outcome == "not-applicable"

test_unread_rules_are_unknown if {
	r := judge(fixture.blind)
	r.outcome == "unknown"
	r.hint == "run as root"
}
