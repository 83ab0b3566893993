"""The errata of the paper, by number: what is printed and what is true. Statements put them to the test."""

from dataclasses import dataclass

__all__ = ["ERRATA", "Erratum"]


@dataclass(frozen=True)
class Erratum:
    """One error in print, or a notation that is not ours.

    Attributes:
        number: as "E5".
        place: where it stands.
        printed: the printed form, in our words.
        correct: the true form.
        notation: whether it is a matter of notation, which no point can show to fail.
    """

    number: str
    place: str
    printed: str
    correct: str
    notation: bool = False


ERRATA = {
    erratum.number: erratum
    for erratum in (
        Erratum("E1", "section 2.2", "the flow is dW/dt = +dL/dW, dH/dt = +dL/dH", "a minus in both"),
        Erratum(
            "E2",
            "equation (9)",
            "gradient -C (2 + 2e^{-2C²}) / (2 + 2e^{-2C²} + 2e^{2C²}) M",
            "-C (2 + 2e^{-2C²}) / (2 + e^{-2C²} + e^{2C²}) M = -(2C / (1 + e^{2C²})) M",
        ),
        Erratum(
            "E3",
            "Remark 3.1",
            'least objective along a direction (ρ²/2) / q_min^{1/2}; the norm is held on a "sphere" {ρ² <= C}',
            "(ρ²/2) / q_min; that set is a ball, and the maximum is on its boundary",
        ),
        Erratum("E4", "NC4", "the classifier decides by argmin_k <w_k, h>", "argmax_k"),
        Erratum(
            "E5",
            "Lemma 3.2",
            "β = <θ, ∇L> / ((|W| + |H|²) |∇_W L| + |∇_H L|²), as the roots are set, and without a minus",
            "β = <θ, -∇L> / (|θ| |∇L|)",
        ),
        Erratum(
            "E6",
            "Lemma 3.2",
            "δ = K / (2 C q_min), C some constant; with C = γ it is false",
            "C = γ~(t0) for ε; δ = (β / 2γ) x / (x + q_min) <= W0((1 + (K-1)e^{-q_min})(nK(K-1) - 1)/e) / (2 γ q_min)",
        ),
        Erratum(
            "E7",
            "Definition 2.1",
            "a symmetric K x K matrix, Q orthogonal K x K",
            "d x K, d >= K-1, with M'M = K/(K-1) (I - J/K); symmetric only for special Q",
        ),
        Erratum(
            "E8",
            "equations (10), (11)",
            "lower points with diagonal C, entries Cα in the blocks and Cβ off them, as close as wanted",
            "that family rises first: curvature 32C²/(1+e^{2C²})² > 0; W' = H' ∝ CM + x uu', u = (1,1,-1,-1)/2, falls",
        ),
        Erratum(
            "E9",
            "equations (13), (14)",
            "L <= along a tangent line, which would give L <= on the sphere",
            "L < in both; (13) does not imply (14): at the optimum a tangent line falls and the sphere rises",
        ),
        Erratum(
            "E10",
            "NC3, Remark 3.2",
            "w_k = C h_k with C of any sign; (αW, βH) is collapsed for all real α, β",
            "C > 0; αβ > 0: else the classifier picks the farthest mean",
        ),
        Erratum("E11", "Theorem 3.1, Lemma 3.3", "L_CE < log 2 without saying which reduction", "the sum over samples"),
        Erratum(
            "E12",
            "Theorems 3.2 to 3.4, Remark 3.3",
            "no condition on d",
            "d >= K-1: K centred vectors with equal cosines span K-1 dimensions",
        ),
        Erratum(
            "E13",
            "Theorem 3.1",
            "the path is normalised by spectral norms",
            "here by Frobenius norms, |θ| = ρ; the direction is the same",
            notation=True,
        ),
        Erratum("E14", "text before Lemma 3.1", "collapse minimises the margin", "maximises"),
        Erratum(
            "E18",
            "section 4, Figure 2",
            "the logarithms of the metrics fall like O(1/log t)",
            "the metrics themselves are powers of log t: -1, and -1/2 for the within-class variation",
        ),
        Erratum("E19", "NC2", "cosines of the class means as they are", "of the means less their mean"),
    )
}
"""Number -> erratum, in the order of the numbers."""
