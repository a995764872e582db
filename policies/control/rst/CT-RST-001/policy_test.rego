package test.rst["CT-RST-001"]

import data.control.rst["CT-RST-001"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

test_exposed_fails if {
	r := judge(fixture.docker)
	r.outcome == "fail"
	r.subject == "ipv4 eth0"
	r.severity == "high"
	contains(r.message, "no rule drops it")
	r.fix == "iptables -t mangle -I PREROUTING -m conntrack --ctstate INVALID -j DROP"
}

test_deciding_rule_is_named if {
	e := fixture.patch(fixture.exposed, {"decidedBy": fixture.accept})
	r := judge(fixture.patch(fixture.docker, {"exposure": [e]}))
	r.outcome == "fail"
	contains(r.message, "rule 1 of iptables-nft ip filter INPUT (-i eth0 -j ACCEPT) lets it through")
	{"kind": "rule", "name": "iptables-nft ip filter INPUT rule 1", "value": "-i eth0 -j ACCEPT"} in r.evidence
}

test_accept_policy_is_named if {
	policy := fixture.patch(fixture.rule("INPUT", 0, ""), {"policy": "accept"})
	e := fixture.patch(fixture.exposed, {"decidedBy": policy})
	r := judge(fixture.patch(fixture.docker, {"exposure": [e]}))
	contains(r.message, "the policy of iptables-nft ip filter INPUT (accept) lets it through")
	{"kind": "rule", "name": "iptables-nft ip filter INPUT policy", "value": "accept"} in r.evidence
}

test_long_rule_is_cut_in_the_message_only if {
	long := concat(" ", ["-m comment --comment xxxxxxxxxxxxxxxxxxxxxxxxxxxx" | some _ in [1, 2, 3, 4]])
	twice := concat("", [long, long])
	e := fixture.patch(fixture.exposed, {"decidedBy": fixture.rule("INPUT", 4, twice)})
	r := judge(fixture.patch(fixture.docker, {"exposure": [e]}))
	contains(r.message, " ...)")
	r.evidence[0].value == twice
}

test_native_nft_gets_nft_commands if {
	e := fixture.patch(fixture.exposed, {"decidedBy": fixture.nft("input", 3, "tcp dport 1024-65535 accept")})
	r := judge(fixture.patch(fixture.docker, {"exposure": [e]}))
	startswith(r.fix, "nft add table ip ctaudit\nnft add chain ip ctaudit prerouting")
}

test_partly_dropped_fails if {
	e := fixture.patch(fixture.exposed, {"verdict": "partly", "reset": "some", "decidedBy": fixture.input_drop})
	r := judge(fixture.patch(fixture.docker, {"exposure": [e]}))
	r.outcome == "fail"
	contains(r.message, "only a part of such packets is dropped, see rule 2 of")
}

test_partial_kernel_is_medium if {
	judge(fixture.patch(fixture.docker, {"kernel": {"fix": "partial"}})).severity == "medium"
}

test_a_rule_that_resets_is_named if {
	reject := fixture.rule("INPUT", 1, "-m conntrack --ctstate INVALID -j REJECT --reject-with tcp-reset")
	r := judge(fixture.patch(fixture.docker, {
		"exposure": [fixture.patch(fixture.exposed, {"decidedBy": reject})],
		"drops": [fixture.patch(fixture.drop(reject, ["input"]), {"action": "reject", "with": "tcp-reset"})],
	}))
	endswith(r.message, "--reject-with tcp-reset) sends the reset itself.")
}

test_unknown_kernel_is_high if {
	judge(fixture.patch(fixture.docker, {"kernel": {"fix": "unknown"}})).severity == "high"
}

test_invalid_packets_now_raise_it if {
	node := fixture.patch(fixture.docker, {
		"kernel": {"fix": "partial"},
		"conntrack": {"sampled": true, "intervalSeconds": 10, "deltas": {"value": {"invalid": 3}}},
	})
	r := judge(node)
	r.severity == "high"
	{"kind": "counter", "name": "conntrack invalid, in 10 s", "value": "3"} in r.evidence
}

test_invalid_packets_every_minute_raise_it if {
	node := fixture.patch(fixture.docker, {
		"kernel": {"fix": "partial", "uptimeSeconds": fixture.known(6000)},
		"conntrack": {"deltas": {"value": {"invalid": 100}}},
	})
	r := judge(node)
	r.severity == "high"
	{"kind": "counter", "name": "conntrack invalid, since boot", "value": "100"} in r.evidence
}

test_a_few_since_boot_do_not if {
	node := fixture.patch(fixture.docker, {
		"kernel": {"fix": "partial", "uptimeSeconds": fixture.known(6000)},
		"conntrack": {"deltas": {"value": {"invalid": 99}}},
	})
	judge(node).severity == "medium"
}

test_protected_passes if {
	r := judge(fixture.guarded)
	r.outcome == "pass"
	r.subject == "ipv4 eth0"
	contains(r.message, "rule 2 of iptables-nft ip filter INPUT")
}

test_protected_without_a_rule_passes if {
	e := fixture.patch(fixture.protected, {"decidedBy": null})
	judge(fixture.patch(fixture.guarded, {"exposure": [e]})).outcome == "pass"
}

test_liberal_passes if {
	r := judge(fixture.liberal)
	r.outcome == "pass"
	startswith(r.message, "be_liberal=1:")
	{"kind": "sysctl", "name": "net.netfilter.nf_conntrack_tcp_be_liberal", "value": "1"} in r.evidence
}

test_openwrt_key_passes if {
	key := "net.netfilter.nf_conntrack_tcp_no_window_check"
	r := judge(fixture.patch(fixture.docker, {"sysctl": {key: fixture.known("1")}}))
	r.outcome == "pass"
	startswith(r.message, "nf_conntrack_tcp_no_window_check=1:")
}

test_absent_be_liberal_is_not_set if {
	judge(fixture.patch(fixture.docker, {"liberal": fixture.absent(0)})).outcome == "fail"
}

test_no_snat_is_not_applicable if {
	r := judge(fixture.bare)
	r.outcome == "not-applicable"
	r.subject == "ipv4"
	contains(r.message, "no IPv4 source NAT rule is reachable")
}

test_no_forwarding_is_not_applicable if {
	r := judge(fixture.patch(fixture.docker, {"forwarding": {"ip": fixture.known(false)}}))
	r.outcome == "not-applicable"
	contains(r.message, "net.ipv4.ip_forward=0")
}

test_hairpin_translation_alone_is_not_applicable if {
	hairpin := fixture.patch(fixture.masquerade, {"egress": false})
	r := judge(fixture.patch(fixture.docker, {"snat": {"ip": fixture.known([hairpin])}}))
	r.outcome == "not-applicable"
	contains(r.message, "translates what leaves the node to one of its own addresses")
}

test_translation_to_foreign_addresses_is_not_applicable if {
	pool := fixture.patch(fixture.masquerade, {"own": false, "action": "snat"})
	judge(fixture.patch(fixture.docker, {"snat": {"ip": fixture.known([pool])}})).outcome == "not-applicable"
	judge(fixture.patch(fixture.docker, {"snat": {"ip": fixture.known([pool, fixture.masquerade])}})).outcome == "fail"
}

test_idle_conntrack_is_not_applicable if {
	r := judge(fixture.patch(fixture.docker, {"conntrackUsed": fixture.known(false)}))
	r.outcome == "not-applicable"
	contains(r.message, "tracks nothing")
}

test_no_uplink_is_not_applicable if {
	r := judge(fixture.patch(fixture.docker, {"uplinks": [], "exposure": []}))
	r.outcome == "not-applicable"
	contains(r.message, "no uplink")
}

test_unread_routes_are_unknown if {
	node := fixture.patch(fixture.docker, {
		"uplinks": [],
		"exposure": [],
		"missing": [{"collector": "topology", "what": "routes", "why": "permission denied", "hint": "run as root"}],
	})
	r := judge(node)
	r.outcome == "unknown"
	r.hint == "run as root"
}

test_uplink_without_an_answer_is_unknown if {
	r := judge(fixture.patch(fixture.docker, {"exposure": []}))
	r.outcome == "unknown"
	r.subject == "ipv4 eth0"
}

test_unread_snat_is_unknown if {
	r := judge(fixture.blind)
	r.outcome == "unknown"
	contains(r.message, "permission denied")
	r.hint == "run as root"
}

test_facts_left_out_are_unknown if {
	node := json.remove(fixture.docker, ["/snat/ip", "/forwarding/ip"])
	r := judge(node)
	r.outcome == "unknown"
	contains(r.message, "IPv4 source NAT rules: not collected; net.ipv4.ip_forward: not collected")
}

test_undecided_ruleset_is_unknown if {
	r := judge(fixture.patch(fixture.docker, {"exposure": [fixture.undecided]}))
	r.outcome == "unknown"
	contains(r.message, "set blocklist")
}

test_undecided_for_no_reason_is_unknown if {
	e := fixture.patch(fixture.undecided, {"dependsOn": []})
	judge(fixture.patch(fixture.docker, {"exposure": [e]})).outcome == "unknown"
}

test_unread_be_liberal_is_unknown_only_when_exposed if {
	judge(fixture.patch(fixture.docker, {"liberal": fixture.unread})).outcome == "unknown"
	judge(fixture.patch(fixture.guarded, {"liberal": fixture.unread})).outcome == "pass"
}

test_every_uplink_is_judged if {
	second := fixture.patch(fixture.protected, {"interface": "eth1"})
	node := fixture.patch(fixture.docker, {"exposure": [fixture.exposed, second]})
	fixture.outcomes(control.results) == {"ipv4 eth0": "fail", "ipv4 eth1": "pass"} with input as node
}

# What a proof measured decides, whatever the version says.
test_measured_fix_decides if {
	measured := {"kernel": {"fix": "none", "fixWhy": "measured by the proof on this kernel", "measured": true, "release": fixture.known("6.12.1")}}
	r := judge(fixture.patch(fixture.docker, measured))
	r.severity == "high"
	some e in r.evidence
	e.name == "kernel_fix none, measured"
	judge(fixture.patch(fixture.docker, {"kernel": {"fix": "full", "measured": true}})).severity == "medium"
}
