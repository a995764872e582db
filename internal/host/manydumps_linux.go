package host

import (
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// maxSet caps the elements of one set, in bytes of messages: about 200,000 addresses. Real block lists fit; a set of
// millions must not push everything else out of the answer.
const maxSet = 4 << 20

// elements reads every set's elements, set by set.
func (r *dumpRun) elements() error {
	sets, err := r.aside(unix.NETLINK_NETFILTER, nftDump(unix.NFT_MSG_GETSET))
	if err != nil {
		return err
	}
	return eachMessage(sets, func(_ uint16, body []byte) error {
		set, err := setOf(body)
		if err != nil {
			return err
		}
		if int64(r.out.size) >= r.limit {
			r.truncated = true
			return r.overrun(set)
		}
		q := nftDump(unix.NFT_MSG_GETSETELEM)
		q.body = set
		cut, err := r.ask(unix.NETLINK_NETFILTER, q, min(r.limit, int64(r.out.size)+maxSet))
		if errors.Is(err, unix.ENOENT) {
			return errChanged // gone since it was listed
		}
		if err == nil && cut {
			r.truncated = true
			err = r.overrun(set)
		}
		return err
	})
}

// overrun marks the set as cut, in the kernel's own word for lost data.
func (r *dumpRun) overrun(set []byte) error {
	b := request{typ: unix.NLMSG_OVERRUN, body: set}.encode(0)
	native.PutUint16(b[6:], 0)
	return r.out.write(b)
}

// setOf turns a set's message into the body of a request for its elements: family, table, name. The table and the name
// have the attribute numbers 1 and 2 in both (NFTA_SET_*, NFTA_SET_ELEM_LIST_*).
func setOf(body []byte) ([]byte, error) {
	if len(body) < 4 {
		return nil, errors.New("set message is cut")
	}
	ad, err := netlink.NewAttributeDecoder(body[4:])
	if err != nil {
		return nil, fmt.Errorf("parse set: %w", err)
	}
	ae := netlink.NewAttributeEncoder()
	for ad.Next() {
		if t := ad.Type(); t == unix.NFTA_SET_TABLE || t == unix.NFTA_SET_NAME {
			ae.Bytes(t, ad.Bytes())
		}
	}
	names, err := ae.Encode()
	if err = errors.Join(err, ad.Err()); err != nil {
		return nil, fmt.Errorf("parse set: %w", err)
	}
	return append(nfgenmsg(body[0]), names...), nil
}

// hookFamily is a protocol family with the number of its hooks (include/uapi/linux/netfilter*.h, Linux 6.18).
type hookFamily struct {
	family uint8
	hooks  uint32
}

// hooks asks for every hook in turn. A family or a hook that this kernel lacks is passed over, once the first request has
// shown that the subsystem itself is there.
func (r *dumpRun) hooks() error {
	for _, f := range []hookFamily{{unix.NFPROTO_IPV4, 5}, {unix.NFPROTO_IPV6, 5}, {unix.NFPROTO_ARP, 3}, {unix.NFPROTO_BRIDGE, 6}} {
		for hook := range f.hooks {
			first := f.family == unix.NFPROTO_IPV4 && hook == 0
			if err := r.hook(f.family, hook, "", first); err != nil {
				return err
			}
		}
	}
	links, _ := rtnlDump(DumpLinks)
	list, err := r.aside(links.protocol, links.request)
	if err != nil {
		return err
	}
	return eachMessage(list, func(_ uint16, body []byte) error {
		name := linkName(body)
		if name == "" {
			return nil
		}
		return errors.Join(r.hook(unix.NFPROTO_NETDEV, 0, name, false), r.hook(unix.NFPROTO_NETDEV, 1, name, false))
	})
}

// hook asks for one hook; the request stands before the replies. required makes a refusal an error.
func (r *dumpRun) hook(family uint8, hook uint32, device string, required bool) error {
	if int64(r.out.size) >= r.limit {
		r.truncated = true
		return nil
	}
	ae := netlink.NewAttributeEncoder()
	ae.Bytes(attrHookNum, []byte{0, 0, 0, byte(hook)})
	if device != "" {
		ae.String(attrHookDev, device)
	}
	attrs, err := ae.Encode()
	if err != nil {
		return err
	}
	q := request{typ: nfType(subsysHook, msgHookGet), flags: unix.NLM_F_DUMP, body: append(nfgenmsg(family), attrs...)}
	before := r.out.size
	if err := r.out.write(q.encode(0)); err != nil {
		return err
	}
	cut, err := r.ask(unix.NETLINK_NETFILTER, q, r.limit)
	r.truncated = r.truncated || cut
	if err != nil {
		r.out.cut(before)
	}
	if !required && isAny(err, unix.EINVAL, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.ENODEV) {
		return nil
	}
	return err
}

// linkName is IFLA_IFNAME of a link's message.
func linkName(body []byte) string {
	if len(body) < unix.SizeofIfInfomsg {
		return ""
	}
	ad, err := netlink.NewAttributeDecoder(body[unix.SizeofIfInfomsg:])
	if err != nil {
		return ""
	}
	for ad.Next() {
		if ad.Type() == unix.IFLA_IFNAME {
			return ad.String()
		}
	}
	return ""
}
