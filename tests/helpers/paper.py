"""The listings of "Symbolic Discovery of Optimization Algorithms", a dot between statements."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Listing:
    body: str
    parameters: str = "w, g, m, v, lr"
    outputs: str = "update, m, v"


_ADAMW = Listing(
    "g2=square(g) · m=interp(g,m,0.9) · v=interp(g2,v,0.999) · sqrt_v=sqrt(v) · update=m/sqrt_v · "
    "wd=w*0.01 · update=update+wd · lr=lr*0.001 · update=update*lr"
)
LISTINGS = {
    # The paper leaves Lion's decay and rate open: 0.1 and 0.0001 are ours.
    "lion": Listing(
        "update=interp(gradient,momentum,0.9) · update=sign(update) · "
        "momentum=interp(gradient,momentum,0.99) · weight_decay=weight*0.1 · "
        "update=update+weight_decay · lr=lr*0.0001 · update=update*lr",
        "weight, gradient, momentum, lr",
        "update, momentum",
    ),
    "adamw": _ADAMW,
    "program_3": _ADAMW,
    "program_4": Listing(
        "g=clip(g,lr) · g=arcsin(g) · m=interp(g,v,0.899) · m2=m*m · v=interp(g,m,1.109) · "
        "abs_m=sqrt(m2) · update=m/abs_m · wd=w*0.4602 · update=update+wd · lr=lr*0.0002 · "
        "m=cosh(update) · update=update*lr"
    ),
    "program_5": Listing(
        "m=interp(m,g,0.16) · g2=square(g) · v=interp(v,g2,0.001) · v753=dot(g,w) · "
        "sqrt_v=sqrt(v) · update=m/sqrt_v · wd=v753*w · update=sin(update) · update=update+wd · "
        "lr=lr*0.0216 · update=update*lr · v=sin(v)"
    ),
    "program_6": Listing(
        "m=interp(m,g,0.1) · g2=square(g) · g2=v+g2 · v=interp(v,g2,0.0015) · sqrt_v=sqrt(v) · "
        "update=m/sqrt_v · v70=get_pi() · v=min(v,v70) · update=sinh(update) · lr=lr*0.0606 · "
        "update=update*lr"
    ),
    "program_7": Listing(
        "m=interp(m,g,0.1) · g=g-m · g2=square(g) · v=interp(v,g2,0.001) · sqrt_v=sqrt(v) · "
        "update=m/sqrt_v · wd=w*0.0238 · update=update+wd · lr=lr*0.03721 · update=update*lr"
    ),
    "program_8": Listing(
        "g=clip(g,lr) · m=clip(m,lr) · v845=sqrt(0.6270633339881897) · v968=sign(v) · v968=v-v · "
        "g=arcsin(g) · m=interp(g,v,0.8999999761581421) · v1=m*m · "
        "v=interp(g,m,1.109133005142212) · v845=tanh(v845) · lr=lr*0.0002171761734643951 · "
        "update=m*lr · v1=sqrt(v1) · update=update/v1 · wd=lr*0.4601978361606598 · "
        "v1=square(v1) · wd=wd*w · m=cosh(update) · lr=tan(1.4572199583053589) · "
        "update=update+wd · lr=cos(v845)"
    ),
}
