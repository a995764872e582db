package conntrack

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// statsReply is the type of the messages: subsystem NFNL_SUBSYS_CTNETLINK (1), message IPCTNL_MSG_CT_GET_STATS_CPU (4), as in
// include/uapi/linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h (Linux 6.18).
const statsReply = unix.NFNL_SUBSYS_CTNETLINK<<8 | 4

// statName names the counters of enum ctattr_stats_cpu (nfnetlink_conntrack.h, Linux 6.18) as the kernel's struct
// ip_conntrack_stat does; older kernels send the numbers that are now out of use as well. An attribute younger than this list keeps
// its number for a name.
func statName(attr uint16) string {
	switch attr {
	case 1:
		return "searched"
	case 2:
		return "found"
	case 3:
		return "new"
	case 4:
		return "invalid"
	case 5:
		return "ignore"
	case 6:
		return "delete"
	case 7:
		return "delete_list"
	case 8:
		return "insert"
	case 9:
		return "insert_failed"
	case 10:
		return "drop"
	case 11:
		return "early_drop"
	case 12:
		return "icmp_error" // CTA_STATS_ERROR
	case 13:
		return "search_restart"
	case 14:
		return "clash_resolve"
	case 15:
		return "chaintoolong"
	}
	return fmt.Sprintf("ctattr_stats_cpu_%d", attr)
}

// maxCPUs is the most that a kernel can be built for so far (NR_CPUS), several times over.
const maxCPUs = 1 << 16

const (
	headerLen   = 16 // struct nlmsghdr
	nfgenmsgLen = 4  // struct nfgenmsg
)

// parseDump reads the answer to IPCTNL_MSG_CT_GET_STATS_CPU: one message for each possible CPU, in order (ctnetlink_ct_stat_cpu_dump
// in net/netfilter/nf_conntrack_netlink.c). The CPU's number is nfgenmsg's res_id, the counters are attributes of 32 bits in
// network byte order.
func parseDump(b []byte) ([]map[string]uint64, error) {
	perCPU := []map[string]uint64{}
	last := -1
	for len(b) > 0 {
		typ, body, rest, err := nextMessage(b)
		if err != nil {
			return nil, err
		}
		b = rest
		switch typ {
		case statsReply:
		case unix.NLMSG_DONE, unix.NLMSG_NOOP:
			continue
		default:
			return nil, fmt.Errorf("a message of type %#x is among the statistics", typ)
		}
		cpu, counters, err := parseCPU(body)
		if err != nil {
			return nil, err
		}
		if cpu <= last || len(perCPU) >= maxCPUs {
			return nil, fmt.Errorf("CPU %d comes after CPU %d", cpu, last)
		}
		last = cpu
		perCPU = append(perCPU, counters)
	}
	if len(perCPU) == 0 {
		return nil, errors.New("no CPU in it")
	}
	return perCPU, nil
}

// nextMessage cuts one message, header and padding, off the front of b.
func nextMessage(b []byte) (typ uint16, body, rest []byte, err error) {
	if len(b) < headerLen {
		return 0, nil, nil, errors.New("a message is cut off")
	}
	length := binary.NativeEndian.Uint32(b)
	if length < headerLen || uint64(length) > uint64(len(b)) {
		return 0, nil, nil, fmt.Errorf("a message of %d bytes stands in %d", length, len(b))
	}
	padded := min(int(length+3)&^3, len(b))
	return binary.NativeEndian.Uint16(b[4:]), b[headerLen:length], b[padded:], nil
}

func parseCPU(body []byte) (cpu int, counters map[string]uint64, err error) {
	if len(body) < nfgenmsgLen {
		return 0, nil, errors.New("no nfgenmsg in a message")
	}
	cpu = int(binary.BigEndian.Uint16(body[2:]))
	attrs, err := netlink.NewAttributeDecoder(body[nfgenmsgLen:])
	if err != nil {
		return 0, nil, fmt.Errorf("CPU %d: %w", cpu, err)
	}
	attrs.ByteOrder = binary.BigEndian
	counters = map[string]uint64{}
	for attrs.Next() {
		if attrs.Type() != 0 {
			counters[statName(attrs.Type())] = uint64(attrs.Uint32())
		}
	}
	if err := attrs.Err(); err != nil {
		return 0, nil, fmt.Errorf("CPU %d: %w", cpu, err)
	}
	if len(counters) == 0 {
		return 0, nil, fmt.Errorf("CPU %d has no counter", cpu)
	}
	return cpu, counters, nil
}
