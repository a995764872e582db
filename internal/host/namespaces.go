package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// MaxNamespaces bounds a Namespaces need; with more, those with the lowest numbers are read and the answer is Truncated.
const MaxNamespaces = 4096

// NamespaceEvidence is one network namespace other than the node's own, as a Namespaces need finds it: by the main
// threads of processes (a thread that alone went elsewhere is not seen), and by the names in /run/netns and
// /run/docker/netns, where namespaces without processes live, such as Docker Swarm's ingress_sbox.
type NamespaceEvidence struct {
	Inode uint64 // the number in "net:[4026531840]"
	// NetnsID is the id by which the node's own namespace knows this one (RTM_GETNSID), the IFLA_LINK_NETNSID of veths that
	// lead there; nil when it has none, so that no link leads there.
	NetnsID   *int32
	Names     []string // paths of the named files, sorted
	PIDs      []int    // at most 8, the lowest, ascending
	Processes int
	Command   string // comm of the lowest pid
	CGroup    string // /proc/PID/cgroup of the lowest pid
	// Files are the need's files as read inside the namespace, by path.
	Files map[string]*Answer
	// Links and Addresses are the rtnetlink dumps made inside the namespace.
	Links     *Answer
	Addresses *Answer
	// Err says why the namespace could not be entered; every answer of Files, Links and Addresses then says the same.
	Err    string
	Denied bool
}

// namespaceJSON is how one namespace stands in Answer.Data: one JSON object a line.
type namespaceJSON struct {
	Inode     uint64                 `json:"inode"`
	NetnsID   *int32                 `json:"netnsID,omitempty"`
	Names     []string               `json:"names,omitempty"`
	PIDs      []int                  `json:"pids,omitempty"`
	Processes int                    `json:"processes,omitempty"`
	Command   *blob                  `json:"command,omitempty"`
	CGroup    *blob                  `json:"cgroup,omitempty"`
	Files     map[string]*answerJSON `json:"files,omitempty"`
	Links     *answerJSON            `json:"links,omitempty"`
	Addresses *answerJSON            `json:"addresses,omitempty"`
	Err       string                 `json:"err,omitempty"`
	Denied    bool                   `json:"denied,omitempty"`
}

// answerJSON is an answer without parts of its own.
type answerJSON struct {
	Data      *blob  `json:"data,omitempty"`
	Absent    bool   `json:"absent,omitempty"`
	Err       string `json:"err,omitempty"`
	Denied    bool   `json:"denied,omitempty"`
	Truncated bool   `json:"truncated,omitempty"`
}

// blob is text where it is UTF-8, for whoever reads a recording, and base64 otherwise.
type blob struct {
	Text   string `json:"text,omitempty"`
	Base64 []byte `json:"base64,omitempty"`
}

func newBlob(b []byte) *blob {
	switch {
	case b == nil:
		return nil
	case utf8.Valid(b) && bytes.IndexByte(b, 0) < 0:
		return &blob{Text: string(b)}
	}
	return &blob{Base64: b}
}

func (b *blob) bytes() []byte {
	switch {
	case b == nil:
		return nil
	case b.Base64 != nil:
		return b.Base64
	}
	return []byte(b.Text)
}

func packAnswer(a *Answer) *answerJSON {
	if a == nil {
		return nil
	}
	return &answerJSON{Data: newBlob(a.Data), Absent: a.Absent, Err: a.Err, Denied: a.Denied, Truncated: a.Truncated}
}

func (a *answerJSON) unpack() *Answer {
	if a == nil {
		return nil
	}
	return &Answer{Data: a.Data.bytes(), Absent: a.Absent, Err: a.Err, Denied: a.Denied, Truncated: a.Truncated}
}

// encodeNamespaces writes one JSON object a line.
func encodeNamespaces(list []NamespaceEvidence) ([]byte, error) {
	out := bytes.NewBuffer([]byte{})
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for _, n := range list {
		j := namespaceJSON{
			Inode: n.Inode, NetnsID: n.NetnsID, Names: n.Names, PIDs: n.PIDs, Processes: n.Processes,
			Command: newBlob([]byte(n.Command)), CGroup: newBlob([]byte(n.CGroup)),
			Links: packAnswer(n.Links), Addresses: packAnswer(n.Addresses), Err: n.Err, Denied: n.Denied,
		}
		if n.Files != nil {
			j.Files = make(map[string]*answerJSON, len(n.Files))
		}
		for p, a := range n.Files {
			j.Files[p] = packAnswer(a)
		}
		if err := enc.Encode(j); err != nil {
			return nil, fmt.Errorf("encode namespace %d: %w", n.Inode, err)
		}
	}
	return out.Bytes(), nil
}

// ReadNamespaces decodes the answer to a Namespaces need, ordered by Inode. The error says why the list is not complete,
// or not there at all: what could be seen is returned beside it, and is true. An Absent answer (no namespace but the
// node's own) is an empty list.
func ReadNamespaces(a *Answer) ([]NamespaceEvidence, error) {
	var list []NamespaceEvidence
	dec := json.NewDecoder(bytes.NewReader(a.Data))
	dec.DisallowUnknownFields()
	for {
		var j namespaceJSON
		err := dec.Decode(&j)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("decode namespaces: %w", err)
		}
		if k := len(list); k > 0 && j.Inode <= list[k-1].Inode {
			return nil, fmt.Errorf("decode namespaces: %d behind %d", j.Inode, list[k-1].Inode)
		}
		list = append(list, j.unpack())
	}
	switch {
	case a.Err != "":
		return list, errors.New(a.Err)
	case a.Truncated:
		return list, fmt.Errorf("more than %d namespaces, or too much in them", MaxNamespaces)
	}
	return list, nil
}

func (j namespaceJSON) unpack() NamespaceEvidence {
	n := NamespaceEvidence{
		Inode: j.Inode, NetnsID: j.NetnsID, Names: j.Names, PIDs: j.PIDs, Processes: j.Processes,
		Command: string(j.Command.bytes()), CGroup: string(j.CGroup.bytes()),
		Links: j.Links.unpack(), Addresses: j.Addresses.unpack(), Err: j.Err, Denied: j.Denied,
	}
	if j.Files != nil {
		n.Files = make(map[string]*Answer, len(j.Files))
	}
	for p, a := range j.Files {
		n.Files[p] = a.unpack()
	}
	return n
}
