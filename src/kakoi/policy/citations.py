"""What the domain rules rest on: document, sentence, and how surely it is known.

A basis mark says what was read: P the issuing body's own text (or a government record), S a third party's
text, R recalled and to be checked against the document, I the reasoning of this kit. A message never claims
more than its mark: whoever reads it must see whether the body has to check the source first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from kakoi.policy.problem import Bilingual

type Basis = Literal["P", "S", "R", "I"]

BASES: Final[Mapping[Basis, Bilingual]] = {
    "P": Bilingual("the issuing body's text was read", "一次資料で確認"),
    "S": Bilingual("known from third parties' texts", "二次資料で確認"),
    "R": Bilingual("recalled, to be checked against the document", "記憶に基づく、原文の確認が必要"),
    "I": Bilingual("this kit's own reasoning", "本キットの判断"),
}


@dataclass(frozen=True, slots=True)
class Citation:
    """One source of a rule."""

    id: str
    title: Bilingual
    basis: Basis

    def __str__(self) -> str:
        return f"{self.id}, basis {self.basis}: {BASES[self.basis].en}"

    @property
    def ja(self) -> str:
        """The same in Japanese."""
        return f"{self.id}、根拠 {self.basis}：{BASES[self.basis].ja}"


CITATIONS: Final[Mapping[str, Citation]] = {
    citation.id: citation
    for citation in (
        Citation(
            "MIC-2",
            Bilingual(
                "Ministry's second reply (proposal 70 of 2024): a body that has taken the β' measures can handle its own employees' numbers in its own インターネット接続系",
                "総務省 第2次回答（令和6年 提案募集 管理番号70）：β'モデルの対策を行った団体は、自団体の職員のマイナンバーを自身のインターネット接続系で取り扱える",
            ),
            "P",
        ),
        Citation(
            "MIC-2-gap",
            Bilingual(
                "The same reply speaks of the body's own employees; dependants are not stated",
                "同回答は「自団体の職員」について述べ、扶養親族については明示していない",
            ),
            "P",
        ),
        Citation(
            "BP-G-04",
            Bilingual("Care and access control for employees' information", "職員情報の取扱いへの留意とアクセス制御"),
            "P",
        ),
        Citation(
            "BP-O-02",
            Bilingual(
                "Rule against keeping residents' information in インターネット接続系",
                "住民に関する情報をインターネット接続系に保存させない規定の整備",
            ),
            "R",
        ),
        Citation(
            "NZ-01",
            Bilingual(
                "マイナンバー利用事務系 does not communicate with other zones in principle",
                "マイナンバー利用事務系と他の領域は原則として通信しない",
            ),
            "P",
        ),
        Citation(
            "NZ-02",
            Bilingual(
                "The exception is 特定通信, limited by path and protocol", "例外は経路とプロトコルを限定した特定通信"
            ),
            "R",
        ),
        Citation(
            "NZ-03",
            Bilingual(
                "LGWAN接続系 and インターネット接続系 are divided", "LGWAN接続系とインターネット接続系は分割する"
            ),
            "P",
        ),
        Citation(
            "NZ-04",
            Bilingual("What enters LGWAN接続系 is sanitised (無害化通信)", "LGWAN接続系への取り込みは無害化通信による"),
            "P",
        ),
        Citation(
            "NZ-05",
            Bilingual(
                "From インターネット接続系, LGWAN接続系 is used by screen transfer",
                "インターネット接続系からLGWAN接続系の利用は画面転送による",
            ),
            "R",
        ),
        Citation(
            "NZ-09",
            Bilingual("The closed enclave is this kit's stricter design", "閉域の囲いは本キットのより厳しい設計"),
            "I",
        ),
        Citation(
            "PN-S-01",
            Bilingual("The range of 事務 that use the number is fixed", "個人番号を取り扱う事務の範囲の明確化"),
            "S",
        ),
        Citation(
            "PN-S-02",
            Bilingual("The range of 特定個人情報 that is handled is fixed", "特定個人情報等の範囲の明確化"),
            "S",
        ),
        Citation("PN-S-03", Bilingual("Who handles it is fixed", "事務取扱担当者の明確化"), "S"),
        Citation(
            "PN-F-c",
            Bilingual(
                "A system for 個人番号利用事務 is independent of the internet",
                "個人番号利用事務のシステムはインターネットから独立",
            ),
            "R",
        ),
        Citation("GL-02", Bilingual("Information assets are classified", "情報資産の分類"), "S"),
        Citation("GL-07", Bilingual("Firewall rules are the minimum that is needed", "通信規則は必要最小限"), "R"),
    )
}


def cited(message: Bilingual, *identifiers: str) -> Bilingual:
    """A message with its sources behind it, each with its basis mark."""
    sources = [CITATIONS[identifier] for identifier in identifiers]
    return Bilingual(
        f"{message.en} [{'; '.join(str(source) for source in sources)}]",
        f"{message.ja}［{'；'.join(source.ja for source in sources)}］",
    )
