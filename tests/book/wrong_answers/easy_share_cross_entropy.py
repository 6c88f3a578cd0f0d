from math import log


def easy_share(easy, p_easy, hard, p_hard, gamma):
    costs = [-easy * log(p_easy), -hard * log(p_hard)]
    return costs[0] / sum(costs)
