package report

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// Finish makes a report whose hosts and controls are filled in ready to print: everything in its order, fingerprints,
// statuses, the summary and the exit code. Whatever order the results came in, the same report comes out.
func Finish(r *Report, p Policy) {
	FinishHead(r, p)
	r.Hosts = list(r.Hosts)
	t := NewTally(len(r.Controls), p)
	for i := range r.Hosts {
		FinishHost(&r.Hosts[i])
		t.Add(&r.Hosts[i])
	}
	r.Summary, r.Exit = t.Summary(), t.Exit()
}

// FinishHead makes what does not depend on hosts ready to print: for a report whose hosts are handed over one by one, each
// after [FinishHost], and counted by a [Tally].
func FinishHead(r *Report, p Policy) {
	r.Version = Version
	r.FailOn = p.FailOn
	slices.SortFunc(r.Controls, func(a, b Control) int { return cmp.Compare(a.ID, b.ID) })
	r.Controls = list(r.Controls)
}

// FinishHost makes a host ready to print: everything in its order, fingerprints, the status.
func FinishHost(h *Host) {
	h.Answers, h.Results, h.Missing = list(h.Answers), list(h.Results), list(h.Missing)
	for i := range h.Answers {
		FinishAnswer(&h.Answers[i])
	}
	for i := range h.Results {
		res := &h.Results[i]
		res.Evidence = list(res.Evidence)
		res.Fingerprint = Fingerprint(res.Control, h.Name, res.Subject)
	}
	slices.SortStableFunc(h.Results, func(a, b Result) int {
		return cmp.Or(cmp.Compare(a.Control, b.Control), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Message, b.Message))
	})
	if h.Status != HostError {
		h.Status = statusOf(h.Results)
	}
}

// FinishAnswer makes an answer ready to print: no list is nil, and every step says its place and its rule in words.
func FinishAnswer(a *Answer) {
	a.Path, a.Shadowed = list(a.Path), list(a.Shadowed)
	for i := range a.Path {
		s := &a.Path[i]
		s.Place = fmt.Sprintf("%s %s %s %s (%d)", s.Backend, s.Family, s.Table, s.Chain, s.Priority)
		if s.By != nil {
			s.Rule = Brief(s.By)
		}
	}
}

// statusOf: what no control needed may be missing; what one needed leaves its result unknown.
func statusOf(results []Result) HostStatus {
	for _, res := range results {
		if res.Outcome == Unknown {
			return Incomplete
		}
	}
	return Complete
}

// list makes a nil list an empty one, so that scripts never meet null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// fingerprintVersion changes only when the same finding has to get another fingerprint, which reopens every alert.
const fingerprintVersion = "ctaudit/1"

// Fingerprint identifies a finding over time: 64 hexadecimal digits over the control, the host's inventory name and the
// subject. Nothing observed goes in: counts, ports, addresses, kernel and tool versions change while the finding stays.
func Fingerprint(control, host, subject string) string {
	h := sha256.New()
	for _, s := range []string{fingerprintVersion, control, host, subject} {
		h.Write([]byte(strings.ToValidUTF8(s, "\uFFFD")))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Ref names where a rule or a policy stands: "iptables-nft ip filter INPUT".
func Ref(r *netfilter.RuleRef) string {
	return strings.Join([]string{string(r.Backend), string(r.Family), r.Table, r.Chain}, " ")
}

// Brief is the rule or policy itself: "rule 3: -i eth0 -j ACCEPT", "policy drop".
func Brief(r *netfilter.RuleRef) string {
	switch {
	case r.Number > 0:
		return fmt.Sprintf("rule %d: %s", r.Number, r.Text)
	case r.Policy != "":
		return "policy " + string(r.Policy)
	}
	return r.Text
}
