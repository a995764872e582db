# METADATA
# description: |
#   The two questions put together: does a flow of the kind exist on this node at all (the premise), do window classes become
#   INVALID, and what does the ruleset do to the packet. Three-valued throughout: known to be harmless, known to be exposed, or
#   unknown with what is missing.
package lib.path

import data.lib.node
import data.lib.text

families := ["ip", "ip6"]

forwarding_key := {"ip": "net.ipv4.ip_forward", "ip6": "net.ipv6.conf.all.forwarding"}

# Nothing is tracked in this namespace: there are no states, and no INVALID.
idle if {
	input.conntrackUsed.known
	not input.conntrackUsed.value
}

not_forwarding(f) if {
	input.forwarding[f].known
	not input.forwarding[f].value
}

# A source NAT rule counts when what it translates can leave by an uplink, with an address of this node's.
translated(f) if {
	input.snat[f].known
	some rule in input.snat[f].value
	object.get(rule, "egress", true)
	object.get(rule, "own", true)
}

untranslated(f) if {
	input.snat[f].known
	not translated(f)
}

untranslated_why(f) := sprintf("no %s source NAT rule is reachable: replies carry the containers' own addresses", [text.protocol[f]]) if {
	count(input.snat[f].value) == 0
} else := sprintf("no %s source NAT rule translates what leaves the node to one of its own addresses: %s", [text.protocol[f], text.rule(input.snat[f].value[0].rule)])

# The premise of question A: containers' flows leave this node with its own address. {"is": yes | no | unknown, "why", "hint"}.
egress[f] := egress_of(f) if some f in families

egress_of(f) := {"is": "no", "why": "conntrack tracks nothing here: no rule needs it and its table is empty"} if {
	idle
} else := {"is": "no", "why": sprintf("%s forwarding is off (%s=0)", [text.protocol[f], forwarding_key[f]])} if {
	not_forwarding(f)
} else := {"is": "no", "why": untranslated_why(f)} if {
	untranslated(f)
} else := {"is": "unknown", "why": node.why(gaps), "hint": node.hint(gaps)} if {
	gaps := array.concat(
		[node.gap(sprintf("%s source NAT rules", [text.protocol[f]]), object.get(input.snat, f, {})) | not translated(f)],
		[node.gap(forwarding_key[f], object.get(input.forwarding, f, {})) | not input.forwarding[f].known],
	)
	count(gaps) > 0
} else := {"is": "yes", "why": ""}

# The premise of question B: this node translates Service addresses to pods.
service[f] := service_of(f) if some f in families

service_of(f) := {"is": "no", "why": "conntrack tracks nothing here: no rule needs it and its table is empty"} if {
	idle
} else := {"is": "no", "why": sprintf("%s forwarding is off (%s=0)", [text.protocol[f], forwarding_key[f]])} if {
	not_forwarding(f)
} else := {"is": "no", "why": "no Service proxy programs this node"} if {
	input.serviceProxy.known
	object.get(input.serviceProxy, "value", "none") in {"none", ""}
} else := {"is": "no", "why": sprintf("%s has no %s Service rule here", [input.serviceProxy.value, text.protocol[f]])} if {
	input.serviceProxy.known
	input.services[f].known
	not input.services[f].value
} else := {"is": "unknown", "why": node.why(gaps), "hint": node.hint(gaps)} if {
	gaps := array.concat(
		[node.gap("the Service proxy", object.get(input, "serviceProxy", {})) | not input.serviceProxy.known],
		array.concat(
			[node.gap(sprintf("%s Service rules", [text.protocol[f]]), object.get(input.services, f, {})) | not input.services[f].known],
			[node.gap(forwarding_key[f], object.get(input.forwarding, f, {})) | not input.forwarding[f].known],
		),
	)
	count(gaps) > 0
} else := {"is": "yes", "why": ""}

premise("A", f) := egress[f]

premise("B", f) := service[f]

# What an exposure comes to: {"state", "why", "hint"}; the state is
#   not-applicable  no such flow exists here
#   liberal         window classes are never INVALID on this node
#   protected       no reset reaches the peer, whatever its segment
#   exposed         some segment is answered by a reset
#   unknown         why says what is missing
verdict(e) := {"state": "not-applicable", "why": premise(e.question, e.family).why, "hint": ""} if {
	premise(e.question, e.family).is == "no"
} else := {"state": "liberal", "why": node.window_checks_off, "hint": ""} if {
	node.window_checks == "off"
} else := {"state": "unknown", "why": gap.why, "hint": node.hint([gap])} if {
	node.window_checks == "unknown"
	ruleset_verdict(e).state == "exposed"
	gap := node.gap(node.be_liberal, input.liberal)
} else := ruleset_verdict(e)

# The same without regard to be_liberal: what the ruleset alone does to an INVALID packet.
ruleset_verdict(e) := {"state": "not-applicable", "why": premise(e.question, e.family).why, "hint": ""} if {
	premise(e.question, e.family).is == "no"
} else := {"state": "protected", "why": protected_why(e), "hint": ""} if {
	e.protected
} else := {"state": "unknown", "why": premise(e.question, e.family).why, "hint": premise(e.question, e.family).hint} if {
	premise(e.question, e.family).is == "unknown"
} else := {"state": "exposed", "why": exposed_why(e), "hint": ""} if {
	e.exposed
} else := {"state": "unknown", "why": depends(e), "hint": "read the undecided part with ctaudit trace, or name INVALID in a drop before it"}

depends(e) := sprintf("depends on %s", [text.some_of(e.dependsOn)]) if {
	count(e.dependsOn) > 0
} else := "the ruleset could not be evaluated"

protected_why(e) := sprintf("%s keeps a reset from the peer", [text.rule(e.decidedBy)]) if {
	e.decidedBy != null
} else := "no reset reaches the peer"

exposed_why(e) := sprintf("%s sends the reset itself", [text.rule(e.decidedBy)]) if {
	some d in input.drops
	d.action == "reject"
	text.same(d.rule, e.decidedBy)
} else := sprintf("only a part of such packets is dropped, see %s", [text.rule(e.decidedBy)]) if {
	e.decidedBy != null
	e.verdict == "partly"
} else := sprintf("%s lets it through", [text.rule(e.decidedBy)]) if {
	e.decidedBy != null
	e.verdict != "dropped"
} else := "no rule drops it"

rank := {"exposed": 0, "unknown": 1, "protected": 2, "liberal": 3, "not-applicable": 4}

# The exposures to question A, one an uplink and family.
uplinks := [e | some e in input.exposure; e.question == "A"; e.family in families]

# The exposures to question B: one a family stands for all container-facing interfaces, an exposed one if there is any.
# Names of veths change with every pod, so they may not become subjects.
services[f] := e if {
	some f in families
	asked := [x | some x in input.exposure; x.question == "B"; x.family == f]
	worst := min({rank[verdict(x).state] | some x in asked})
	interface := min({x.interface | some x in asked; rank[verdict(x).state] == worst})
	e := [x | some x in asked; x.interface == interface][0]
}

all := array.concat(uplinks, [e | some e in services])

subject(e) := sprintf("%s %s", [text.family[e.family], e.interface]) if {
	e.question == "A"
} else := sprintf("%s services", [text.family[e.family]])

# The uplinks of a family.
uplink_names(f) := [u.name | some u in input.uplinks; f in u.families]

evidence(e) := array.concat(
	text.rule_evidence(e.decidedBy),
	[{"kind": "note", "name": "witness packet", "value": e.witness} | object.get(e, "witness", "") != ""],
)
