package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
)

const (
	inputs = 64
	hidden = 48
	digits = 10
	seed   = 20230814 // everything random follows from it

	momentum = 0.9
	batch    = 16
)

// params are the weights of the network, or a change of them.
type params struct {
	W1 [hidden][inputs]float64
	B1 [hidden]float64
	W2 [digits][hidden]float64
	B2 [digits]float64
}

// network is a perceptron with one hidden layer (ReLU) and a softmax, trained
// by stochastic gradient descent with momentum.
type network struct {
	P params
	V params // velocity
}

// newNetwork draws the weights as He et al. (2015) do for ReLU: normal, with
// variance 2 / inputs of the layer.
func newNetwork() *network {
	n := &network{}
	r := rand.New(rand.NewPCG(seed, seed))
	for i := range n.P.W1 {
		for j := range n.P.W1[i] {
			n.P.W1[i][j] = r.NormFloat64() * math.Sqrt(2.0/inputs)
		}
	}
	for i := range n.P.W2 {
		for j := range n.P.W2[i] {
			n.P.W2[i][j] = r.NormFloat64() * math.Sqrt(2.0/hidden)
		}
	}
	return n
}

// forward returns the hidden layer and the probability of each digit.
func (n *network) forward(x *[inputs]float64) (h [hidden]float64, p [digits]float64) {
	for i := range h {
		sum := n.P.B1[i]
		for j, v := range x {
			sum += n.P.W1[i][j] * v
		}
		h[i] = max(0, sum)
	}
	top := math.Inf(-1)
	for i := range p {
		sum := n.P.B2[i]
		for j, v := range h {
			sum += n.P.W2[i][j] * v
		}
		p[i] = sum
		top = max(top, sum)
	}
	total := 0.0
	for i := range p {
		p[i] = math.Exp(p[i] - top)
		total += p[i]
	}
	for i := range p {
		p[i] /= total
	}
	return h, p
}

// epoch goes over all samples once and returns the mean cross-entropy.
func (n *network) epoch(samples []sample, order []int, rate float64) float64 {
	loss := 0.0
	for len(order) > 0 {
		k := min(batch, len(order))
		var g params
		for _, i := range order[:k] {
			loss += n.gradient(&samples[i], &g)
		}
		n.step(&g, rate/float64(k))
		order = order[k:]
	}
	return loss / float64(len(samples))
}

// gradient adds the gradient of one sample's cross-entropy to g and returns the
// cross-entropy.
func (n *network) gradient(s *sample, g *params) float64 {
	h, p := n.forward(&s.x)
	loss := -math.Log(max(p[s.digit], 1e-12))
	p[s.digit]-- // now the derivative by the inputs of the softmax
	var back [hidden]float64
	for i, d := range p {
		g.B2[i] += d
		for j, v := range h {
			g.W2[i][j] += d * v
			back[j] += d * n.P.W2[i][j]
		}
	}
	for i, d := range back {
		if h[i] <= 0 {
			continue
		}
		g.B1[i] += d
		for j, v := range s.x {
			g.W1[i][j] += d * v
		}
	}
	return loss
}

func (n *network) step(g *params, rate float64) {
	move := func(p, v *float64, g float64) {
		*v = momentum**v - rate*g
		*p += *v
	}
	for i := range g.W1 {
		move(&n.P.B1[i], &n.V.B1[i], g.B1[i])
		for j := range g.W1[i] {
			move(&n.P.W1[i][j], &n.V.W1[i][j], g.W1[i][j])
		}
	}
	for i := range g.W2 {
		move(&n.P.B2[i], &n.V.B2[i], g.B2[i])
		for j := range g.W2[i] {
			move(&n.P.W2[i][j], &n.V.W2[i][j], g.W2[i][j])
		}
	}
}

// accuracy returns the share of the samples that are recognised.
func (n *network) accuracy(samples []sample) float64 {
	right := 0
	for i := range samples {
		_, p := n.forward(&samples[i].x)
		best := 0
		for d := range p {
			if p[d] > p[best] {
				best = d
			}
		}
		if best == samples[i].digit {
			right++
		}
	}
	return float64(right) / float64(len(samples))
}

// digest names the weights, bit for bit.
func (n *network) digest() string {
	h := sha256.New()
	if err := binary.Write(h, binary.LittleEndian, n.P); err != nil {
		panic(err) // a struct of float arrays always has a binary form
	}
	return fmt.Sprintf("sha256:%x", h.Sum(nil)[:8])
}
