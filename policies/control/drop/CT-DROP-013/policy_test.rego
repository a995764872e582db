package test.drop["CT-DROP-013"]

import data.control.drop["CT-DROP-013"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

orphan := fixture.rule("NODE_INPUT", 1, "-m conntrack --ctstate INVALID -j DROP")

node := fixture.patch(fixture.docker, {"drops": [fixture.drop(orphan, [])]})

place := "iptables-nft ip filter NODE_INPUT"

test_unreferenced_fails if {
	r := judge(node)
	r.outcome == "fail"
	r.severity == "high"
	r.subject == place
	contains(r.message, "no base chain leads to it")
}

because(reason) := fixture.patch(fixture.docker, {
	"drops": [fixture.drop(orphan, ["input"])],
	"exposure": [fixture.patch(fixture.exposed, {"shadowed": [fixture.shadow(orphan, reason)]})],
})

test_dormant_fails if contains(judge(because("dormant")).message, "its table is dormant")

test_needs_entry_fails if contains(judge(because("needs-entry")).message, "INVALID ones have none")

test_guarded_jump_fails if contains(judge(because("unreferenced")).message, "what leads to it matches none of them")

test_of_use_for_another_question_passes if {
	both := fixture.patch(fixture.docker, {
		"drops": [fixture.drop(orphan, ["forward"])],
		"exposure": [
			fixture.patch(fixture.exposed, {"shadowed": [fixture.shadow(orphan, "unreferenced")]}),
			fixture.patch(fixture.protected, {"interface": "eth1", "decidedBy": orphan}),
		],
	})
	judge(both).outcome == "pass"
}

test_other_reasons_are_not_its_business if judge(because("shadowed")).outcome == "pass"

test_protected_otherwise_is_info if {
	r := judge(fixture.patch(node, {"exposure": [fixture.protected]}))
	r.outcome == "fail"
	r.severity == "info"
	r.fix == "iptables-nft -t filter -D NODE_INPUT 1"
}

test_liberal_is_info if judge(fixture.patch(node, {"liberal": fixture.known(1)})).severity == "info"

test_no_snat_is_info if judge(fixture.patch(node, {"snat": {"ip": fixture.known([])}})).severity == "info"

test_nobody_asks_is_info if judge(fixture.patch(node, {"exposure": []})).severity == "info"

test_undecided_is_unknown if judge(fixture.patch(node, {"exposure": [fixture.undecided]})).outcome == "unknown"

test_native_rule_is_deleted_by_handle if {
	native := fixture.patch(fixture.nft("lost", 1, "ct state invalid drop"), {"chain": "it's; lost"})
	r := judge(fixture.patch(fixture.guarded, {"drops": [fixture.drop(native, [])]}))
	r.fix == `nft delete rule inet firewall 'it'\''s; lost' handle 11`
}

test_native_rule_without_handle_has_no_command if {
	native := fixture.patch(fixture.nft("lost", 1, "ct state invalid drop"), {"handle": 0})
	r := judge(fixture.patch(fixture.guarded, {"drops": [fixture.drop(native, [])]}))
	r.fix == ""
}

test_reachable_passes if judge(fixture.guarded).outcome == "pass"

test_no_drop_is_not_applicable if judge(fixture.docker).outcome == "not-applicable"

test_unread_rules_are_unknown if {
	r := judge(fixture.blind)
	r.outcome == "unknown"
	r.hint == "run as root"
}
