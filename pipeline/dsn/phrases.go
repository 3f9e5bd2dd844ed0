package dsn

import "strings"

// signatures are words by which a mail server's own text is known, in lower case. The first that occurs names the format.
var signatures = [...]struct{ words, format string }{
	{"this is the qmail-send program", "qsbmf"},
	{"this is the haraka mailer program", "haraka"},
	{"dragonfly mail agent", "dma"},
	{"this message was created automatically by mail delivery software", "exim"},
	{"please do not reply to this email.\n\n    an error has occurred", "opensmtpd"},
	{"recipient addresses that were\nincorrectly constructed", "exim"},
	{"this is the mail system at host", "postfix"},
	{"this is the postfix program at host", "postfix"},
	{"transcript of session follows", "sendmail"},
	{"had permanent fatal errors", "sendmail"},
	{"technical details of permanent failure", "gmail"},
	{"technical details of temporary failure", "gmail"},
	{"diagnostic information for administrators", "exchange"},
	{"did not reach the following recipient(s)", "exchange"},
	{"generating server:", "exchange"},
	{"not listed in domino directory", "domino"},
	{"not listed in public name & address book", "domino"},
	{"mailenable", "mailenable"},
	{"mail delivery failed: returning message to sender", "exim"},
	{"sorry, we were unable to deliver your message to the following address", "yahoo"},
	{"this is a delivery failure notification message", "courier"},
	{"i'm afraid i wasn't able to deliver your message", "qsbmf"},
}

func formatOf(low string, top *header) string {
	for _, s := range signatures {
		if strings.Contains(low, s.words) {
			return s.format
		}
	}
	if top.has("X-MailEnable-Message") {
		return "mailenable"
	}
	return ""
}

// machineNames are the names of mail systems as senders.
var machineNames = [...]string{
	"mailer-daemon", "mailer_daemon", "maildaemon", "postmaster", "post_master", "mail delivery", "mail.delivery", "mail system", "system administrator", "mail administrator",
	"mailer daemon", "delivery subsystem", "ndr administrator", "microsoftexchange", "internet mail delivery", "double-bounce", "mail-daemon",
}

// bounceSubjects are parts of the subjects of bounces, in lower case.
var bounceSubjects = [...]string{
	"undeliverable", "undelivered", "failure notice", "returned mail", "returned to sender", "returning message", "delivery failure", "delivery failed",
	"mail delivery", "delivery status", "delivery notification", "nondeliverable", "non-deliverable", "not delivered", "could not be delivered", "mail failure",
	"mail system error", "message status", "delivery error", "delivery report", "delivery problem", "warning: message", "warning: could not send", "mail error", "failed mail",
	"unzustellbar", "nicht zugestellt", "nicht zustellbar", "zustellung fehlgeschlagen", "konnte nicht", "zustellfehler",
	"non remis", "non délivr", "échec de", "echec de", "non distribu", "retourné", "impossible de remettre",
	"no se puede entregar", "no se ha podido", "no entregado", "não entreg", "nao entreg", "impossibile recapitare", "mancato recapito", "onbestelbaar",
	"配信", "送信でき", "送れません", "エラー", "戻り", "未送達", "届け", "недоставлен", "не доставлен", "退信", "退信通知", "無法傳遞",
}

// bouncePhrases are parts of their texts, in lower case.
var bouncePhrases = [...]string{
	"could not be delivered", "couldn't be delivered", "wasn't able to deliver", "unable to deliver", "was not delivered", "not be delivered", "undeliverable",
	"delivery has failed", "delivery failed", "failed permanently", "permanent error", "permanent failure", "was rejected by", "user unknown", "unknown user", "no such user",
	"mailbox full", "mailbox is full", "mailbox unavailable", "recipient rejected", "rejected by a remote mail server", "does not exist", "doesn't exist", "address not found",
	"has been delayed", "not yet been delivered", "returned to you", "delivery errors", "delivery to the following", "no valid recipients", "invalid user address",
	"exceeds allowed size", "over quota", "quota exceeded", "account is disabled", "duplicated message-id",
	"konnte nicht zugestellt", "nicht zugestellt werden", "unbekannter empfänger", "empfänger unbekannt", "postfach ist voll", "existiert nicht",
	"n'a pas pu être", "n'a pu être", "n'a pas été remis", "boîte pleine", "boite pleine", "adresse inconnue", "utilisateur inconnu", "n'existe pas", "est inconnu",
	"no pudo ser entregado", "no se ha podido entregar", "nao pode ser", "não pode ser", "non è stato possibile",
	"送信できません", "配信できません", "届けることができません", "お届けできません", "見つかりません", "送信に失敗", "配信に失敗", "存在しません", "не может быть доставлено", "не доставлено",
}

// delayWords tell a delay from a failure, in lower case.
var delayWords = [...]string{
	"warning message only", "has been delayed", "is delayed for", "not yet been delivered", "delivery attempts will continue", "will keep trying", "message will be retried",
	"status notification (delay)", "still undelivered", "could not send message for past", "delivery delayed", "you do not need to re-send", "temporary failure report",
	"verzögert", "wird weiterhin versucht", "retardé", "différée", "遅延", "遅れ",
}

// autoSubjects are parts of the subjects of automatic replies, in lower case. RFC 3834, section 3.1.5 proposes "Auto: ".
var autoSubjects = [...]string{
	"auto: ", "automatic reply", "auto reply", "auto-reply", "autoreply", "autoresponse", "auto response", "automated reply", "automated response", "out of office", "out of the office", "on vacation", "vacation reply",
	"away from", "automatische antwort", "abwesenheit", "nicht im büro", "réponse automatique", "reponse automatique", "absence du bureau", "en vacances", "absent du",
	"respuesta automática", "fuera de la oficina", "risposta automatica", "fuori sede", "resposta automática", "automatisch antwoord", "afwezig", "自動返信", "自動応答", "不在", "自动回复", "автоответ",
}

// challengeWords are those of systems that let mail through only if a person confirms it, in lower case.
var challengeWords = [...]string{
	"please confirm that you sent", "confirm that you are a human", "confirm you are human", "prove you are human", "prove that you are a human", "spam arrest", "spamarrest", "verify that you are a person",
	"challenge-response", "challenge/response", "to have your message delivered, please", "your message is being held until", "please click the link below to verify your", "boxbe", "sender verification required", "request to be added to the approved sender",
}
