"""Type C (W5Re/W26Re) thermocouple: emf against temperature."""

# IEC 60584-1:2013, mV against deg C (coefficients as quoted in the literature; not verified in the standard)
LOW = (0.0, 1.3406032e-2, 1.1924992e-5, -7.9806354e-9, -5.0787515e-12, 1.3164197e-14, -7.9197332e-18)
HIGH = (4.0528823e-1, 1.1509355e-2, 1.5696453e-5, -1.3704412e-8, 5.2290873e-12, -9.2082758e-16, 4.5245112e-20)
KNEE_C = 630.615
OVER_RANGE_V = 0.12  # what an input without a thermocouple drifts to [S]


def emf_mv(junction_c: float) -> float:
    """Emf (mV) of a junction at `junction_c` against 0 deg C."""
    value = 0.0
    for coefficient in reversed(LOW if junction_c < KNEE_C else HIGH):
        value = value * junction_c + coefficient
    return value
