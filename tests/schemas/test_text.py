"""Running text in pieces: what is cut joins again to exactly what was written."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundflow.schemas.text import control_string, join_texts, one_line, without_thoughts, words_of

TEXTS = st.text(st.sampled_from("abZ7 é你好世，。,.!—-'\u3099"), max_size=30).map(lambda text: " ".join(text.split()))


@given(TEXTS)
def test_words_join_to_the_text_and_each_is_pronounceable(text: str) -> None:
    words = words_of(text)
    assert join_texts(words) == text
    if any(char.isalnum() for char in text):
        assert all(any(char.isalnum() for char in word) for word in words)


@given(TEXTS, st.data())
def test_words_grouped_anyhow_join_to_the_text(text: str, data: st.DataObject) -> None:
    words = words_of(text)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(words)))) | {0, len(words)})
    assert join_texts(join_texts(words[a:b]) for a, b in pairwise(cuts)) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The storm, it came!", ["The", "storm,", "it", "came!"]),
        ("the sea — and the sky", ["the", "sea —", "and", "the", "sky"]),
        ("“ Hello ” she said", ["“ Hello ”", "she", "said"]),
        ("你好，世界。", ["你", "好，", "世", "界。"]),
        ("我用 Python 写", ["我", "用 Python 写"]),
        ("5 % of it", ["5 %", "of", "it"]),
        ("…", ["…"]),
        ("", []),
    ],
)
def test_a_text_is_split_at_word_boundaries(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),  # Persian
        ("\u0dc1\u0dca\u200d\u0dbb\u0dd3", "\u0dc1\u0dca\u200d\u0dbb\u0dd3"),  # Sinhala
        ("\u0d28\u0d4d\u200d", "\u0d28\u0d4d\u200d"),  # Malayalam chillu at the end of a word
        ("\u06a9\u062a\u0627\u0628\u200c \u200c\u0647\u0627", "\u06a9\u062a\u0627\u0628 \u0647\u0627"),  # stray non-joiners
        ("co\u00adoper\u200bate\u2060d", "cooperated"),
        ("co\u200doperate", "cooperate"),
        ("\ufeffleft\u200e to\u202b right\u202c", "left to right"),
        ("a\u00a0b\u3000c\u2028d\te\x1ff", "a b c d e f"),
        ("wo\x00rd\x07", "word"),
        ("cafe\u0301", "caf\u00e9"),
        ("e\u00ad\u0301", "\u00e9"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("\u0600\u0661", "\u0600\u0661"),  # Arabic number sign
    ],
)
def test_invisible_characters_never_cut_a_word(text: str, line: str) -> None:
    assert one_line(text) == line
    assert one_line(line) == line


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>Two bells.</think>A bell.", "A bell."),
        ("<think>\n\n</think>\n\nA bell.\nTwo.", "A bell.\nTwo."),
        ("Two bells.\n</think>\nA bell.", "A bell."),
        ("<think>a</think>b<think>c</think>d", "d"),
        ("<think>a <think>b</think> c</think> d", "d"),
        ("Sure. <think>a</think> b", "b"),
        ("<Think>a</THINK> b", "b"),
        ('<think duration="3">a</think> b', "b"),
        ("<thinking>a</thinking>b", "b"),
        ("<thought>a</thought >b", "b"),
        ("<reasoning>a</reasoning>b", "b"),
        ("<seed:think>a</seed:think>b", "b"),
        ("[THINK]a[/THINK]b", "b"),
        ("◁think▷a◁/think▷b", "b"),
        ("<|START_THINKING|>a<|END_THINKING|>b", "b"),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b", "b"),
        ("<think/>b", "b"),
        ("Thinking...\nThe user greets.\n...done thinking.\n\nb", "b"),
        ("Thinking…\r\na\r\n…done thinking.\r\nb", "b"),
        ('<details type="reasoning" done="true">\n<summary>Thought for 2 s</summary>\na\n</details>\nb', "b"),
        ('<details type="reasoning">a</details>b <details>c</details>', "b <details>c</details>"),
        ("<reasoning_content>a</reasoning_content>b", "b"),
        ("<inner_monologue>a</inner_monologue> b", "b"),
        ("<scratchpad>a</scratchpad>b", "b"),
        ("\n<analysis>a</analysis>b", "b"),
        ("<reflection>a</reflection>b", "b"),
        ("<thinking>a</thinking>\n<reflection>b</reflection>\nc", "c"),
        ("<think>a <analysis>b</analysis> c</think>d", "d"),
        ("<scratchpad>a <think>b</think> c</scratchpad>d", "d"),
        ("&lt;think&gt;a&lt;/think&gt;b", "b"),
        ("< think >a</ think >b", "b"),
        ("analysisUser greets.assistantfinalb", "b"),
        ("analysisWe need a tool.assistantcommentary to=x{}assistantfinalb", "b"),
        ("<unused94>thought\na<unused95>b", "b"),
        ("<|channel>thought\na<channel|>b", "b"),
        ("<think>a</think><answer>b</answer>", "b"),
        ("<think>a</think>\n<output>\nb\n</output>\n", "b"),
        ("<think>a</think><answer>b", "b"),
        ("<antThinking>a</antThinking>b", "b"),
        ("＜think＞a＜/think＞b", "b"),
        ('&lt;details type="reasoning"&gt;a&lt;/details&gt;b', "b"),
        ("Thought for 12 seconds\n\nb", "b"),
        ("Thought for a few seconds\nb", "b"),
        ("<analysis>a", None),
        ("<think>a <analysis>b</analysis>", None),
        ('<details type="reasoning">a', None),
        ("Thinking...\nThe user", None),
        ("analysisUser greets.", None),
        ("<think>a</think>", ""),
        ("<think>a", None),
        ("a <think> b", None),
        ("<think>a</think>b<think>c", None),
        ("<|channel|>analysis<|message|>a", None),
    ],
)
def test_thoughts_are_no_part_of_the_answer(text: str, answer: str | None) -> None:
    assert without_thoughts(text) == (answer, True)


def test_a_whole_answer_in_a_tag_is_returned_without_it() -> None:
    assert without_thoughts("<answer>\na\n</answer>") == ("a", False)


def test_many_marks_are_read_in_linear_time() -> None:
    text = "x " + "<analysis> " * 50_000
    assert without_thoughts(text) == (text, False)
    spaced = "<answer>" + " " * 200_000 + "a"
    assert without_thoughts(spaced) == (spaced, False)


@pytest.mark.parametrize(
    "text",
    [
        "", " a \n b ", "I think so.", "a < think > b", "think", "[thinking]", "<b>a</b>", "I am thinking about a bell.",
        "Thinking... about it, yes.", "Put it into <analysis> and </analysis>.", "Close it with </scratchpad>.", "[laughs] Well.",
        "<details><summary>More</summary>a</details>", "analysis of the bell", "analysis: a bell", "The assistant final say.",
        "An <answer>a</answer> tag.", "<answer>a</answer> and <answer>b</answer>", "<rational>a</rational>", "&lt;b&gt;",
        "I'm not done thinking.", "Thought for food.\nAnd rest.", "<answer> begins an answer", "thinking…\nA bell.",
        "A thought for 12 seconds\nis short.",
    ],
)  # fmt: skip
def test_a_text_without_thoughts_is_returned_as_it_is(text: str) -> None:
    assert without_thoughts(text) == (text, False)


@pytest.mark.parametrize(
    "mark",
    [
        "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|start_header_id|>", "<|AUDIO|>", "<|Human|>",
        "<｜User｜>", "<｜end▁of▁sentence｜>", "[INST]", "[/INST]", "<<SYS>>", "</s>", "<s>", "<bos>", "<eos>", "<start_of_turn>",
        "<end_of_turn>", "<tool_call>", "<eom>", "[TOOL_CALLS]", "[/AVAILABLE_TOOLS]", "[EOS]", "[SEP]", "<EOS>", "<unused12>",
        "<end_of_utterance>", "<extra_id_0>", "<0x0A>", "<|im_end", "<|im_end>", "<im_end|>", "im_end|>", "<turn|>",
        "<custom_token_7>", "[UNUSED_TOKEN_145]", "[control_12]", "<eos_token>", "<function=get_time>", "<| im_end |>",
        r"<\|im_end\|>", "endoftext|>",
    ],
)  # fmt: skip
def test_control_strings_of_chat_templates_are_found(mark: str) -> None:
    assert control_string(f"Hi.{mark} user") == mark


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("Hi<|im_\u200bend|>", "<|im_end|>"),
        ("Hi ＜｜im_end｜＞", "<|im_end|>"),
        ("Hi &lt;|im_end|&gt;", "<|im_end|>"),
        ("Hi [TOOL\u00ad_CALLS]", "[TOOL_CALLS]"),
    ],
)
def test_a_disguised_control_string_is_found(text: str, mark: str) -> None:
    assert control_string(text) == mark


@pytest.mark.parametrize(
    "text",
    [
        "a <b> c", "x |> f <| y", "<||>", "[1]", "INST", "a<s", "f <| g |> h", "1 < 2 | 3 > 2", "[laughs]", "[MUSIC]", "[NAME]",
        "[Tool calls]", "the EOS of a text", "<end> of", "xs|>map", "می\u200cخواهم <b>", "R&amp;B &lt;b&gt;", "unused12",
        "<0x7fff>", "a <mask> in SVG", "the token im_end", "0 < |x| > 1", "[control]",
    ],
)  # fmt: skip
def test_other_text_with_brackets_is_no_control_string(text: str) -> None:
    assert control_string(text) == ""
