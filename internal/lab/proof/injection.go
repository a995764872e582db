package proof

import "github.com/ctaudit/ctaudit/internal/lab"

// The upload stands where the capture in moby/libnetwork#1090 has it when the fatal segment comes: the server has acknowledged
// up to 10149475 with a window of 173056, which the client has filled, and an ACK of 10110467 comes late. Numbers are relative.
const (
	acknowledged = 10149475
	staleNumber  = 10110467
	window       = 173056
	windowScale  = 7
	sent         = acknowledged + window
)

// Names of injections that mean more than the others.
const (
	Control    = "control"
	StaleAck   = "stale ACK"
	OutsideRST = "out-of-window RST"
)

// Injection is a segment that the server sends, and what the connection needs before.
type Injection struct {
	Name     string
	About    string
	download bool // the server has sent more than twice the client's window before
	segment  func(f *flow) lab.Segment
}

// Injections are the segments in the order of the table.
func Injections() []Injection {
	return []Injection{
		{Name: Control, About: "nothing is injected"},
		{
			Name: StaleAck, About: "an ACK older than the receiver's largest window",
			segment: func(f *flow) lab.Segment { return f.segment(f.next, staleNumber, 0) },
		},
		{
			Name: "old SEQ", About: "a late retransmission of data that was acknowledged more than one window ago", download: true,
			segment: func(f *flow) lab.Segment { return f.segment(f.next-f.largest-2*piece, acknowledged, piece) },
		},
		{
			Name: "SEQ over, near", About: "data over the window, by less than the largest window",
			segment: func(f *flow) lab.Segment { return f.segment(f.edge+f.largest/2, acknowledged, 100) },
		},
		{
			Name: "SEQ over, far", About: "data over the window, by four times the largest window",
			segment: func(f *flow) lab.Segment { return f.segment(f.edge+4*f.largest, acknowledged, 100) },
		},
		{
			Name: "ACK of unseen data", About: "an ACK of data that the client has not sent yet",
			segment: func(f *flow) lab.Segment { return f.segment(f.next, sent+100000, 0) },
		},
		{
			Name: OutsideRST, About: "a RST older than what the client has acknowledged",
			segment: func(f *flow) lab.Segment {
				s := f.segment(f.next-20, 0, 0)
				s.Flags, s.Ack, s.Window = lab.RST, 0, 0
				return s
			},
		},
	}
}
