from math import log


def easy_share(easy, p_easy, hard, p_hard, gamma):
    first = -easy * p_easy**gamma * log(p_easy)
    second = -hard * p_hard**gamma * log(p_hard)
    return first / (first + second)
