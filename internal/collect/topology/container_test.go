package topology

import (
	"strings"
	"testing"
)

func TestParseCGroup(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	other := strings.Repeat("f", 64)
	tests := []struct {
		name, file string
		want       container
	}{
		{
			"docker, cgroupfs, v1",
			"12:pids:/docker/" + id + "\n1:name=systemd:/docker/" + id + "\n0::/system.slice/containerd.service\n",
			container{"/docker/" + id, id[:12], "docker"},
		},
		{
			"docker, systemd, v2", "0::/system.slice/docker-" + id + ".scope\n",
			container{"/system.slice/docker-" + id + ".scope", id[:12], "docker"},
		},
		{
			"docker with an init inside", "0::/system.slice/docker-" + id + ".scope/init\n",
			container{"/system.slice/docker-" + id + ".scope/init", id[:12], "docker"},
		},
		{
			"containerd, systemd", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-" + id + ".scope\n",
			container{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-" + id + ".scope", id[:12], "containerd"},
		},
		{
			"containerd, colons", "0::/system.slice/containerd.service/kubepods-besteffort-pod1.slice:cri-containerd:" + id + "\n",
			container{"/system.slice/containerd.service/kubepods-besteffort-pod1.slice:cri-containerd:" + id, id[:12], "containerd"},
		},
		{
			"kubelet, cgroupfs", "5:memory:/kubepods/burstable/pod8b2c-1/" + id + "\n",
			container{"/kubepods/burstable/pod8b2c-1/" + id, id[:12], ""},
		},
		{
			"kubelet, cgroupfs, guaranteed", "0::/kubepods/pod8b2c-1/" + id + "\n",
			container{"/kubepods/pod8b2c-1/" + id, id[:12], ""},
		},
		{
			"CRI-O", "0::/kubepods.slice/kubepods-pod1.slice/crio-" + id + ".scope/container\n",
			container{"/kubepods.slice/kubepods-pod1.slice/crio-" + id + ".scope/container", id[:12], "crio"},
		},
		{
			"podman, root", "0::/machine.slice/libpod-" + id + ".scope/container\n",
			container{"/machine.slice/libpod-" + id + ".scope/container", id[:12], "podman"},
		},
		{
			"podman's monitor is no container", "0::/machine.slice/libpod-conmon-" + id + ".scope\n",
			container{"/machine.slice/libpod-conmon-" + id + ".scope", "", ""},
		},
		{
			"kind: a pod in a container", "0::/docker/" + other + "/kubelet.slice/kubelet-kubepods.slice/cri-containerd-" + id + ".scope\n",
			container{"/docker/" + other + "/kubelet.slice/kubelet-kubepods.slice/cri-containerd-" + id + ".scope", id[:12], "containerd"},
		},
		{
			"from outside the reader's cgroup namespace", "0::/../../docker-" + id + ".scope\n",
			container{"/../../docker-" + id + ".scope", id[:12], "docker"},
		},
		{"LXC 4", "0::/lxc.payload.web-1\n", container{"/lxc.payload.web-1", "web-1", "lxc"}},
		{"LXC 3", "0::/lxc/web/init.scope\n", container{"/lxc/web/init.scope", "web", "lxc"}},
		{"LXC's monitor is no container", "0::/lxc.monitor.web\n", container{"/lxc.monitor.web", "", ""}},
		{"a service", "1:name=systemd:/\n0::/system.slice/ssh.service\n", container{"/system.slice/ssh.service", "", ""}},
		{"not an id", "0::/docker/" + id[:63] + "\n", container{"/docker/" + id[:63], "", ""}},
		{"not at a boundary", "0::/mydocker-" + id + ".scope\n", container{"/mydocker-" + id + ".scope", "", ""}},
		{"no cgroups", "", container{}},
		{"no cgroup line", "garbage\n", container{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := parseCGroup(tt.file); got != tt.want {
				t.Errorf("parseCGroup(%q) = %+v, want %+v", tt.file, got, tt.want)
			}
		})
	}
}

func FuzzParseCGroup(f *testing.F) {
	id := strings.Repeat("0123456789abcdef", 4)
	f.Add("0::/system.slice/docker-" + id + ".scope\n")
	f.Add("5:memory:/kubepods/burstable/pod8b2c-1/" + id + "\n0::/lxc.payload.web\n")
	f.Fuzz(func(t *testing.T, file string) {
		c := parseCGroup(file)
		if !strings.Contains(file, c.cgroup) || !strings.Contains(c.cgroup, c.id) {
			t.Errorf("parseCGroup(%q) = %+v: not in the file", file, c)
		}
		if c.id == "" && c.runtime != "" {
			t.Errorf("parseCGroup(%q) = %+v: a runtime without a container", file, c)
		}
	})
}
