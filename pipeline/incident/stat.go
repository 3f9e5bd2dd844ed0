package incident

import "math"

// deviance returns z, the signed root of the negative binomial deviance of k failures where mu are expected and the
// variance is mu + phi*mu^2, with a continuity correction of one half. It is 0 when there are not more than expected.
// One-sided significance is erfc(z/sqrt 2)/2.
func deviance(k, mu, phi float64) float64 {
	k -= 0.5
	if k <= mu || mu <= 0 {
		return 0
	}
	r := 1 / phi
	return math.Sqrt(math.Max(0, 2*(k*math.Log(k/mu)-(k+r)*math.Log((k+r)/(mu+r)))))
}

// taken returns the share of the attempts that would have gone well and were turned into this failure. A broken provider
// takes the same share of everybody's attempts, whatever their usual failure rate was.
func taken(n, k, mu float64) float64 {
	if n-mu <= 0 || k <= mu {
		return 0
	}
	return math.Min(1, (k-mu)/(n-mu))
}

// poisson returns the log-likelihood of k at mean mu without the term that depends on k alone.
func poisson(k, mu float64) float64 {
	mu = math.Max(mu, 1e-9)
	return k*math.Log(mu) - mu
}
