package host

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"
)

// wholeRules is how many bytes of rules are read in one dump before they are asked for chain by chain: about a thousand
// rules. For every 32 KiB the kernel counts its way from the first rule of what was asked for to where it had stopped
// (net/netfilter/nf_tables_api.c, __nf_tables_dump_rules, Linux 6.18), so that one dump of a large ruleset costs the
// square of its size; the dump of one chain costs that of the chain.
const wholeRules = 512 << 10

// NFTA_CHAIN_TABLE and NFTA_CHAIN_NAME, and their like in a rule (include/uapi/linux/netfilter/nf_tables.h).
const (
	attrChainTable = 1
	attrChainName  = 3
	attrRuleTable  = 1
	attrRuleChain  = 2
)

// errUnfiltered is a kernel before 4.11, which pays no heed to the names in a request for rules.
var errUnfiltered = errors.New("rules of another chain")

// rules reads every rule, in the kernel's order.
func (r *dumpRun) rules() error {
	cut, err := r.ask(r.spec.protocol, r.spec.request, min(r.limit, wholeRules))
	if err != nil || !cut {
		return err
	}
	r.begin()
	err = r.rulesByChain()
	if err != errUnfiltered {
		return err
	}
	r.begin()
	r.expect = nil
	r.truncated, err = r.ask(r.spec.protocol, r.spec.request, r.limit)
	return err
}

func (r *dumpRun) rulesByChain() error {
	chains, err := r.aside(unix.NETLINK_NETFILTER, nftDump(unix.NFT_MSG_GETCHAIN))
	if err != nil {
		return err
	}
	return eachMessage(chains, func(_ uint16, body []byte) error {
		if r.truncated {
			return nil
		}
		q := nftDump(unix.NFT_MSG_GETRULE)
		if q.body, err = chainOf(body, q.body[:0]); err != nil {
			return err
		}
		r.expect = q.body
		r.truncated, err = r.ask(unix.NETLINK_NETFILTER, q, r.limit)
		return err
	})
}

// chainOf turns a chain's message into the body of a request for its rules, and of the beginning of each of them: the
// family, the table, the chain (nf_tables_fill_rule_info).
func chainOf(body, out []byte) ([]byte, error) {
	if len(body) < nfgenLength {
		return nil, errors.New("chain message is cut")
	}
	table, chain := attribute(body[nfgenLength:], attrChainTable), attribute(body[nfgenLength:], attrChainName)
	if table == nil || chain == nil {
		return nil, errors.New("chain message without a name")
	}
	out = append(out, body[0], 0, 0, 0)
	return appendAttribute(appendAttribute(out, attrRuleTable, table), attrRuleChain, chain), nil
}

// nfgenLength is struct nfgenmsg: family, version, and the resource id, which counts generations.
const nfgenLength = 4

// attribute finds an attribute and returns what it holds, nil when it is not there.
func attribute(b []byte, typ uint16) []byte {
	for len(b) >= unix.SizeofNlAttr {
		size := int(native.Uint16(b))
		if size < unix.SizeofNlAttr || size > len(b) {
			return nil
		}
		if native.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == typ {
			return b[unix.SizeofNlAttr:size]
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return nil
}

// appendAttribute appends an attribute, padded.
func appendAttribute(b []byte, typ uint16, v []byte) []byte {
	b = native.AppendUint16(b, uint16(unix.SizeofNlAttr+len(v)))
	b = append(native.AppendUint16(b, typ), v...)
	return append(b, make([]byte, (4-len(v)&3)&3)...)
}

// expected reports whether all messages are of the family and begin with the attributes that body, a request's, has.
func expected(messages, body []byte) bool {
	for len(messages) > 0 {
		size := int(native.Uint32(messages)) // walkMessages has checked it
		m := messages[nlHeader:size]
		if len(m) < nfgenLength || m[0] != body[0] || !bytes.HasPrefix(m[nfgenLength:], body[nfgenLength:]) {
			return false
		}
		messages = messages[min((size+3)&^3, len(messages)):]
	}
	return true
}
