"""All numbers of the paper, each defined once with its source.

"Tab. hyper" is the paper's table of hyperparameters, "B.1" its appendix on data construction. Numbers marked
"settled" are our choices where the paper is silent or contradicts itself; docs/design gives the reasons.
"""

from typing import Final

SAMPLE_RATE: Final = 16_000
"""Hz. All audio inside SoundFlow is mono at this rate, that of the base model's Whisper front end."""

CHUNK_SECONDS: Final = 0.4
"""Decision period c (Tab. hyper: 400 ms)."""
CHUNK_SAMPLES: Final = 6_400
HALF_CHUNK_SAMPLES: Final = 3_200
"""Alignment step δ = c/2 = 200 ms (Tab. hyper)."""
AUDIO_SLOTS_PER_CHUNK: Final = 10
"""Audio embeddings per chunk: 40 ms each after the encoder's stride 2 and pooling 2."""

SILENCE_LIMIT_SECONDS: Final = 0.300
"""τ, the longest run of silence that TFJP leaves (B.1)."""
FADE_SECONDS: Final = 0.020
"""ω, the fade window (Tab. hyper)."""
FADE_SAMPLES: Final = 320
TFJP_MAX_PASSES: Final = 3
"""K, the iteration cap of Algorithm 1 (B.1)."""
SUBTRACTION_GAIN: Final = 1.0
"""γ of spectral subtraction (B.1)."""
SUBTRACTION_FLOOR: Final = 0.05
"""β relative to the ORIGINAL magnitude (settled): K passes never attenuate more than 26 dB."""
NOISE_FRAME_SHARE: Final = 0.05
"""Share of lowest-energy frames in the noise profile (B.1)."""

STFT_SIZE: Final = 400
STFT_HOP: Final = 200
"""12.5 ms (settled), so that τ, δ and c are whole numbers of hops: 24, 16 and 32."""

ROLE_GAIN_DB: Final = {"foreground": 0.0, "background": -6.0, "ambient": -12.0}
"""Tab. hyper: role gain fg/bg/amb."""
SNR_RANGE_DB: Final = (5.0, 20.0)
"""P_snr = U(5, 20) dB (Tab. hyper)."""
AMBIENT_SNR_OFFSET_DB: Final = 5.0
"""The ambient noise track is quieter by this amount (Algorithm 3)."""
REFERENCE_LEVEL_DBFS: Final = -26.0
"""Active level to which every clip is scaled before its role gain (settled; the usual speech level of ITU-T P.56)."""
PEAK_LIMIT: Final = 0.99
"""A stream whose |y| exceeds this is scaled as a whole instead of clipped (settled)."""

EVENTS_RANGE: Final = (3, 15)
"""Sub-events per scene (B.1: stage 1 emits 3-15)."""

HISTORY_TURNS: Final = 3
"""Minimum distance in turns between a history-review question and the turn it depends on (B.2: three rounds)."""
HISTORY_REVIEW_SHARE: Final = 0.30
"""p_hr (Tab. hyper): chance that a question about an earlier turn is mixed into a dialogue."""
SILENT_SHARE: Final = 0.40
"""p_sil (Tab. hyper): chance that a sound without a response is mixed in."""
PROACTIVE_SHARE: Final = 0.30
"""p_pro (Tab. hyper): chance that a sound with a proactive response is mixed in."""

RETRIEVED: Final = 3
"""Candidates retrieved for each event (section 3.2: "selects the top-3 most relevant candidates")."""

IGNORE_LABEL: Final = -100
"""MASK of Algorithm 2."""

WINDOW_CHUNKS: Final = 60
"""L_max (Tab. hyper): window of the trainer, 24 s. A stream may be longer."""

WER_LIMIT: Final = 0.10
"""τ_wer (Tab. hyper): word error rate against the rewritten text above which a rendering is rejected."""
SPEECH_RETRIES: Final = 2
"""R (B.1): number of further renderings of a turn before its whole dialogue is discarded."""
LONGEST_RESPONSE_TOKENS: Final = 1024
"""Maximum text tokens of a response, in the runtime and so in corpora (settled)."""
