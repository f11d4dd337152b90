"""Columns of a table of addresses: one row a tensor."""

PARAMETER, GRADIENT, FIRST_MOMENT, SECOND_MOMENT, MAXIMUM, ACCUMULATED, AVERAGE = range(7)
COLUMNS = 7
