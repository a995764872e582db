package test.drop["CT-DROP-010"]

import data.control.drop["CT-DROP-010"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

behind := fixture.patch(fixture.shadow(fixture.input_drop, "shadowed"), {"by": fixture.accept})

shadowed := fixture.patch(fixture.docker, {
	"exposure": [fixture.patch(fixture.exposed, {"decidedBy": fixture.accept, "shadowed": [behind]})],
	"drops": [fixture.drop(fixture.input_drop, ["input"])],
})

test_shadowed_fails_and_names_both if {
	r := judge(shadowed)
	r.outcome == "fail"
	r.severity == "high"
	r.subject == "ipv4 eth0"
	contains(r.message, "rule 2 of iptables-nft ip filter INPUT (-m conntrack --ctstate INVALID -j DROP) drops")
	contains(r.message, "rule 1 of iptables-nft ip filter INPUT (-i eth0 -j ACCEPT) accepts them first")
	count(r.evidence) == 2
}

test_unnamed_front_fails if {
	s := fixture.shadow(fixture.input_drop, "shadowed")
	r := judge(fixture.patch(shadowed, {"exposure": [fixture.patch(fixture.exposed, {"shadowed": [s, s]})]}))
	contains(r.message, "(and 1 more rule) drops INVALID packets, but an earlier rule accepts")
}

test_many_shadows_are_counted if {
	s := fixture.shadow(fixture.input_drop, "shadowed")
	r := judge(fixture.patch(shadowed, {"exposure": [fixture.patch(fixture.exposed, {"shadowed": [s, s, s]})]}))
	contains(r.message, "(and 2 more rules)")
}

test_partial_kernel_is_medium if judge(fixture.patch(shadowed, {"kernel": {"fix": "partial"}})).severity == "medium"

# Another rule protects: the shadowed one is no finding.
test_protected_otherwise_passes if {
	r := judge(fixture.patch(shadowed, {"exposure": [fixture.patch(fixture.protected, {"shadowed": [behind]})]}))
	r.outcome == "pass"
	contains(r.message, "It leaves nothing exposed")
}

test_liberal_passes if judge(fixture.patch(shadowed, {"liberal": fixture.known(1)})).outcome == "pass"

test_no_snat_is_not_applicable if {
	judge(fixture.patch(shadowed, {"snat": {"ip": fixture.known([])}})).outcome == "not-applicable"
}

test_undecided_is_unknown if {
	judge(fixture.patch(shadowed, {"exposure": [fixture.patch(fixture.undecided, {"shadowed": [behind]})]})).outcome == "unknown"
}

test_service_drop_behind_an_accept_fails if {
	front := fixture.rule("FORWARD", 1, "-j CILIUM_FORWARD")
	s := fixture.patch(fixture.shadow(fixture.forward_drop, "shadowed"), {"by": front})
	e := fixture.patch(fixture.exposure("B", "ip", "cni0"), {"shadowed": [s]})
	of(fixture.patch(fixture.kubernetes, {"exposure": [e]})) == {"ipv4 services": "fail"}
}

test_a_drop_in_front_passes if judge(fixture.guarded).outcome == "pass"

test_no_drop_is_not_applicable if judge(fixture.docker).outcome == "not-applicable"

test_unread_rules_are_unknown if {
	r := judge(fixture.blind)
	r.outcome == "unknown"
	r.hint == "run as root"
}
