package inventory

import (
	"cmp"

	"github.com/go-json-experiment/json"
)

// node is what we need of a node of Kubernetes (core/v1).
type node struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Status struct {
		Addresses []struct {
			Type    string `json:"type"`
			Address string `json:"address"`
		} `json:"addresses"`
	} `json:"status"`
}

// address is the InternalIP, or else what kubectl would show first.
func (n node) address() string {
	found := map[string]string{}
	for _, a := range n.Status.Addresses {
		if found[a.Type] == "" {
			found[a.Type] = a.Address
		}
	}
	return cmp.Or(found["InternalIP"], found["ExternalIP"], found["InternalDNS"], found["Hostname"])
}

// parseNodes reads kubectl get nodes -o json. Nodes that are not ready stay: they are nodes.
func (l *loader) parseNodes(text []byte, kind string) {
	r := l.newJSON(text)
	var err error
	if kind == "Node" {
		err = r.node()
	} else {
		_, err = r.object(func(name string) error {
			if name != "items" {
				return r.dec.SkipValue()
			}
			_, err := r.array(r.node)
			return err
		})
	}
	if err != nil {
		r.syntax(err)
	}
}

func (r *jsonReader) node() error {
	r.dec.PeekKind()
	line := r.line()
	var n node
	if err := json.UnmarshalDecode(r.dec, &n); err != nil {
		return err
	}
	if n.Kind != "" && n.Kind != "Node" {
		r.fail(line, "kubectl get nodes -o json", "a %q of Kubernetes among the nodes", n.Kind)
		return nil
	}
	if _, twice := r.inv.hosts[n.Metadata.Name]; twice {
		r.warn(line, "node %s is there twice: the later one counts", n.Metadata.Name)
	}
	h := r.addHost(n.Metadata.Name, 0, r.inv.loose, line)
	if h == nil {
		return nil
	}
	if n.Metadata.Labels["kubernetes.io/os"] == "windows" {
		r.warn(line, "node %s runs Windows: only Linux is audited", h.name)
	}
	for key, text := range n.Metadata.Labels {
		if !printable(key) || !printable(text) {
			r.fail(line, "", "node %s: label %q: control characters", h.name, key)
		}
	}
	h.labels = n.Metadata.Labels
	if a := n.address(); a != "" {
		h.vars.set("ansible_host", value{text: a, file: r.file, line: line})
	}
	return nil
}
