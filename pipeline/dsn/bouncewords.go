package dsn

// bounceSubjects are parts of the subjects of bounces, in lower case.
var bounceSubjects = [...]string{
	"undeliverable", "undelivered", "failure notice", "returned mail", "returned to sender", "returning to sender", "returning message", "delivery failure", "delivery failed", "delivery has failed",
	"mail delivery", "delivery status", "delivery notification", "nondeliverable", "non-deliverable", "not delivered", "could not be delivered", "couldn't be delivered", "mail failure", "unable to deliver",
	"mail system error", "message status", "delivery error", "delivery report", "delivery problem", "warning: message", "warning: could not send", "mail error", "failed mail", "mail failed", "error sending", "message blocked",
	"rejected mail", "email rejected", "message rejected", "bounced mail", "loop alert", "address not found", "delivery delayed", "delivery incomplete",
	"unzustellbar", "nicht zugestellt", "nicht zustellbar", "zustellung fehlgeschlagen", "konnte nicht", "zustellfehler", "zustellung", "fehler bei der",
	"non remis", "non délivr", "échec de", "echec de", "non distribu", "retourné", "impossible de remettre", "impossible d'envoyer", "erreur de",
	"no se puede entregar", "no se ha podido", "no entregado", "no se pudo entregar", "error de entrega", "correo devuelto", "mensaje devuelto", "fallo en la entrega", "demora en la entrega",
	"não entreg", "nao entreg", "não pôde ser", "falha na entrega", "erro de entrega", "devolvida",
	"impossibile recapitare", "mancato recapito", "mancata consegna", "non recapitabile", "errore di consegna", "ritardo nella consegna",
	"onbestelbaar", "niet bezorgd", "niet afgeleverd", "bezorging mislukt", "niedostarczon", "nie dostarczono", "nie można dostarczyć", "zwrot", "kunde inte levereras", "teslim edilemedi", "nedoručiteln", "kézbesíthetetlen",
	"配信", "送信でき", "送れません", "エラー", "戻り", "未送達", "届け", "недоставлен", "не доставлен", "не может быть доставлен", "задержка доставки", "退信", "退回", "無法傳遞", "无法投递", "无法送达", "發送失敗", "发送失败",
	"반송", "전송 실패", "발송 실패", "전달되지",
}

// bouncePhrases are parts of their texts that say no more than that, in lower case.
var bouncePhrases = [...]string{
	"could not be delivered", "couldn't be delivered", "wasn't able to deliver", "unable to deliver", "was not delivered", "not be delivered", "undeliverable", "could not deliver", "did not reach",
	"delivery has failed", "delivery failed", "delivery failure", "failed permanently", "permanent error", "permanent failure", "was rejected by", "recipient rejected", "rejected by a remote mail server",
	"has been delayed", "not yet been delivered", "returned to you", "delivery errors", "delivery to the following", "was automatically rejected", "delivery is delayed", "failed to deliver", "trouble delivering",
	"konnte nicht zugestellt", "nicht zugestellt werden", "nicht zugestellt", "n'a pas pu être", "n'a pu être", "n'a pas été remis", "échec de la remise", "n'a pas encore été",
	"no pudo ser entregado", "no se ha podido entregar", "no se pudo entregar", "nao pode ser", "não pode ser", "não pôde ser", "non è stato possibile", "non è stato ancora", "impossibile recapitare", "impossibile consegnare", "è stato rifiutato", "mancata consegna",
	"kon niet worden", "niet worden bezorgd", "niet worden afgeleverd", "nie może zostać", "nie mogła zostać", "nie można było dostarczyć", "nie została dostarczona", "kunde inte levereras", "teslim edilemedi",
	"送信できません", "配信できません", "届けることができません", "お届けできません", "送信に失敗", "配信に失敗", "не может быть доставлено", "не может быть", "не доставлено", "не было доставлено", "被退回", "无法发送", "无法投递", "无法送达",
	"無法傳遞", "無法送達", "보내지 못했", "전송할 수 없", "전달되지 못",
}

// reasonPhrases are parts of their texts that tell why, in lower case.
var reasonPhrases = [...]string{
	"user unknown", "unknown user", "no such user", "user not found", "not found", "no such domain", "host unknown", "mailbox full", "mailbox is full", "mailbox unavailable", "does not exist", "doesn't exist", "no valid recipients",
	"invalid user address", "exceeds allowed size", "over quota", "quota exceeded", "exceeded the local limit", "account is disabled", "account has been disabled", "duplicated message-id", "not reachable", "not responding", "unreachable", "too large", "timed out", "disk space",
	"unbekannter empfänger", "empfänger unbekannt", "unbekannter benutzer", "postfach ist voll", "postfach voll", "existiert nicht", "boîte pleine", "boite pleine", "boîte aux lettres pleine", "adresse inconnue", "utilisateur inconnu", "n'existe pas",
	"est inconnu", "introuvable", "buzón lleno", "está lleno", "no existe", "desconocido", "desconhecid", "caixa cheia", "não existe", "casella piena", "casella di posta piena", "non esiste", "sconosciuto", "is vol", "onbekend", "bestaat niet", "jest pełna", "przepełnion", "nie istnieje",
	"見つかりません", "存在しません", "容量を超え", "いっぱい", "переполнен", "не существует", "не найден", "不存在", "已满", "已滿", "존재하지 않", "가득",
}

// cues stand in front of the words about all recipients of a list.
var cues = [...]string{
	"technical details", "because", "reason", "error message below", "server message", "failure reason", "the error that the other server returned",
	"the response from the remote server", "the response was", "diagnostic", "error:", "error message", "error is as follows", "the reason", "grund", "fehler", "raison",
	"motif", "erreur", "remote server", "details", "body of message generated response", "the error was", "message:", "server response", "reporting",
	"the following error", "エラー", "理由", "原因", "the server returned", "delivery attempt", "motivo", "causa", "razón", "erro:", "reden", "oorzaak", "powód", "przyczyna", "причина", "ошибка", "退信原因", "失败原因", "원인", "사유", "neden:", "orsak",
}

// innerCues are words of such a line that ends in a colon.
var innerCues = [...]string{
	"reason", "because", "the problem appears to be", "error message", "error was", "returned the following", "fehlermeldung", "folgende", "raison", "erreur", "motivo", "razón", "errore", "reden", "powód", "причин", "ошибк", "原因", "理由",
}
